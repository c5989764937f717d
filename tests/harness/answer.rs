//! The answer of an API call, over any transport.

use http::HeaderMap;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Asserts the status, and returns the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer is {}", self.text());
        self
    }

    /// Asserts a problem document with this status and code, and returns the document.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        let document = self.expect(status).problem();
        assert_eq!(document["code"], code, "{document}");
        document
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The body as a problem document. Asserts all members that the contract names.
    #[track_caller]
    pub fn problem(&self) -> Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.text()
        );
        let document = self.json();
        assert_eq!(document["status"], self.status, "{document}");
        assert_eq!(
            document["request_id"].as_str(),
            self.header("x-request-id"),
            "{document}"
        );
        for member in ["type", "title", "detail", "code"] {
            assert!(
                document[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{member} in {document}"
            );
        }
        assert!(document["errors"].is_array(), "{document}");
        document
    }

    /// The text at a path such as `/order/id`.
    #[track_caller]
    pub fn string(&self, pointer: &str) -> String {
        let json = self.json();
        let text = json.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("no text at {pointer} in {json}"))
            .to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The JSON pointers of the errors in a problem document, in order.
pub fn pointers(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .map(|error| error["pointer"].as_str().unwrap_or_default().to_owned())
        .collect()
}
