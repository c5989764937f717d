//! The configuration from TOML and, behind a zero byte, lines of `VARIABLE=value`. An accepted
//! configuration is valid, and its printed form can be parsed again.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tillbox::config::Config;
use tillbox_fuzz::two_parts;

fuzz_target!(|data: &[u8]| {
    let (text, variables) = two_parts(data);
    let (Ok(text), Ok(variables)) = (std::str::from_utf8(text), std::str::from_utf8(variables))
    else {
        return;
    };
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (format!("TILLBOX_{name}"), value.to_owned()));
    let load = |text: &str| Config::of_text(Path::new("fuzz.toml"), text, std::iter::empty());
    match Config::of_text(Path::new("fuzz.toml"), text, variables) {
        Ok(config) => {
            config
                .validate()
                .expect("an accepted configuration is valid");
            let shown = config.show();
            // Passwords are not printed; everything else is.
            if config.mail.smtp_url.expose() == config.mail.smtp_url.to_string() {
                assert_eq!(load(&shown).expect("the printed form is accepted"), config);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
