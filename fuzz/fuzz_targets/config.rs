//! The configuration from TOML and, behind a zero byte, lines of `VARIABLE=value`: what is taken is
//! valid and shows itself so that it can be read again.
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
            config.validate().expect("what is taken is valid");
            let shown = config.show();
            // A password is not shown, and the rest is.
            if config.mail.smtp_url.expose() == config.mail.smtp_url.to_string() {
                assert_eq!(load(&shown).expect("what is shown is taken"), config);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
