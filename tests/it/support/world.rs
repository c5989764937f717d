//! Scripted remote servers. Without a script every call fails, so no test calls the real world by
//! accident.

use std::sync::{Mutex, PoisonError};

use tillbox::outbound::http::{Answer, Call, CallError, Outbound};

type Script = Box<dyn FnMut(&Call) -> Result<Answer, CallError> + Send>;

/// Answers calls by a script, and records them.
#[derive(Default)]
pub struct World {
    script: Mutex<Option<Script>>,
    calls: Mutex<Vec<Call>>,
}

impl World {
    /// Sets the script that answers each call from now on.
    pub fn answers(&self, script: impl FnMut(&Call) -> Result<Answer, CallError> + Send + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(script));
    }

    /// The recorded calls, the oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Outbound for World {
    fn call(&self, call: &Call) -> Result<Answer, CallError> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call.clone());
        match self
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            Some(script) => script(call),
            None => Err(CallError::Transport(
                "there is no server in this test".to_owned(),
            )),
        }
    }
}
