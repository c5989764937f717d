//! The result table of a run.

use std::fmt;

/// The way in which a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Acknowledged work is missing or differs from the answer.
    Lost,
    /// A request or job has two effects.
    Doubled,
    /// Damage that no check reports.
    Undetected,
    Other,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    text: String,
}

impl Finding {
    pub const fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }

    /// Returns the text without the kind.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds the context in which it was found.
    pub fn at(self, place: impl fmt::Display) -> Self {
        let text = format!("{place}: {}", self.text);
        Self { text, ..self }
    }
}

impl From<String> for Finding {
    fn from(text: String) -> Self {
        Self::new(Kind::Other, text)
    }
}

impl From<&str> for Finding {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Other => f.write_str(&self.text),
            kind => write!(f, "{kind:?}: {}", self.text),
        }
    }
}

/// The results for one kind of fault.
#[derive(Debug)]
pub struct Row {
    pub fault: String,
    pub trials: usize,
    /// Trials that this machine could not run.
    pub skipped: usize,
    pub failures: Vec<Finding>,
    /// For a control: the number of expected findings.
    pub found: Option<usize>,
}

impl Row {
    /// Creates a row for trials and their findings.
    pub fn new<F: Into<Finding>>(
        fault: impl Into<String>,
        trials: usize,
        failures: impl IntoIterator<Item = F>,
    ) -> Self {
        Self {
            fault: fault.into(),
            trials,
            skipped: 0,
            failures: failures.into_iter().map(Into::into).collect(),
            found: None,
        }
    }

    /// Creates a row for trials that this machine cannot run, and prints the reason.
    pub fn skipped(fault: impl Into<String>, skipped: usize, why: impl fmt::Display) -> Self {
        let fault = fault.into();
        println!("SKIPPED: {fault}: {skipped} trials: {why}");
        Self {
            skipped,
            ..Self::new(fault, 0, Vec::<Finding>::new())
        }
    }

    /// Makes it a control, which passes when its trials found something.
    pub fn must_find(mut self) -> Self {
        self.found = Some(self.failures.len());
        self.failures.clear();
        if self.found == Some(0) {
            self.failures
                .push("the control found no loss: the laboratory is blind".into());
        }
        self
    }

    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    fn count(&self, kind: Kind) -> usize {
        self.failures
            .iter()
            .filter(|failure| failure.kind == kind)
            .count()
    }
}

/// Returns the result of one row and the command that repeats one of its cases.
pub fn summary(row: &Row, part: &str, seed: u64) -> String {
    let failed = row.failures.len();
    // All trials of a control count as one test of the laboratory.
    let passed = row.found.map_or(row.trials, |_| 1).saturating_sub(failed);
    format!(
        "{}: {passed} passed, {failed} failed, {} skipped; seed {seed}; one case again: cargo test \
         --test lab -- {part} --seed {seed} --case N",
        row.fault, row.skipped,
    )
}

/// Longest printed text of a finding; two differing answers are long.
const FINDING_CHARS: usize = 700;

/// Prints the rows, and the first failures of each.
pub fn print(rows: &[Row]) {
    println!(
        "\n{:<34} {:>7} {:>5} {:>8} {:>11} {:>7} {:>8} {:>8}",
        "fault", "trials", "lost", "doubled", "undetected", "failed", "skipped", "control"
    );
    for row in rows {
        let control = match row.found {
            None => String::new(),
            Some(0) => "BLIND".to_owned(),
            Some(found) => format!("{found} found"),
        };
        println!(
            "{:<34} {:>7} {:>5} {:>8} {:>11} {:>7} {:>8} {:>8}",
            row.fault,
            row.trials,
            row.count(Kind::Lost),
            row.count(Kind::Doubled),
            row.count(Kind::Undetected),
            row.count(Kind::Other),
            row.skipped,
            control
        );
        for failure in row.failures.iter().take(5) {
            let text = failure.to_string();
            println!(
                "    {}",
                text.chars().take(FINDING_CHARS).collect::<String>()
            );
        }
    }
}
