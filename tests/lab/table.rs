//! The table that a run ends with.

/// One kind of fault: how often it was tried, and what was found.
#[derive(Debug)]
pub struct Row {
    pub fault: &'static str,
    pub seed: u64,
    pub trials: usize,
    pub failures: Vec<String>,
    /// For a control: how often it found what it has to find.
    pub found: Option<usize>,
}

impl Row {
    pub const fn new(fault: &'static str, seed: u64, trials: usize, failures: Vec<String>) -> Self {
        Self {
            fault,
            seed,
            trials,
            failures,
            found: None,
        }
    }

    /// Makes it a control, which passes when something was found.
    pub fn must_fail(&mut self, found: usize) {
        self.found = Some(found);
        self.failures.clear();
        if found == 0 {
            self.failures
                .push("the control found no loss: this laboratory could not find one".to_owned());
        }
    }

    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Prints the rows, and the first failures of each.
pub fn print(rows: &[Row]) {
    println!("{:<34} {:>8} {:>8} {:>8}  seed", "fault", "trials", "failed", "found");
    for row in rows {
        let found = row.found.map_or_else(String::new, |found| found.to_string());
        println!(
            "{:<34} {:>8} {:>8} {:>8}  {}",
            row.fault,
            row.trials,
            row.failures.len(),
            found,
            row.seed
        );
        for failure in row.failures.iter().take(5) {
            println!("    {failure}");
        }
    }
}
