//! Errors of a cloud, classified once, where they arise.

use std::fmt;

/// What an error means for who made the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// The cloud refused the call for its rate; nothing was done.
    Throttled,
    /// The answer was lost, or the cloud failed while answering: it may or may not have been done.
    Uncertain,
    /// Something that was just made is not visible yet, or something that goes away is not gone yet; the same call
    /// will succeed soon. Nothing was done.
    NotYet,
    /// What the call names does not exist.
    NotFound,
    /// Something of this name exists already.
    Exists,
    /// The caller may not do this, or is not known.
    Denied,
    /// A quota of the account is used up.
    Quota,
    /// Anything else: trying again will not help.
    Refused,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    /// What it means.
    pub class: ErrorClass,
    /// The call, as IAM names the action: `ec2:CreateSubnet`.
    pub call: String,
    /// The cloud's code: `InvalidSubnet.Conflict`. Empty where there was no answer.
    pub code: String,
    /// The cloud's message, or what happened on the way to it.
    pub message: String,
    /// The cloud's id of the request; boxed, since errors are moved through every result.
    pub request_id: Option<Box<str>>,
    /// What to do, where more is known than the class says.
    pub help: Option<String>,
    /// Whether the call was sent before, without an answer: whatever this one says, that one may have been done.
    pub doubtful: bool,
}

impl CloudError {
    /// An error that no call gave: something in an answer is not as the API promises.
    pub fn unexpected(call: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Refused, call, "", message)
    }

    /// An error of this class.
    pub fn new(class: ErrorClass, call: &str, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            call: call.to_owned(),
            code: code.to_owned(),
            message: message.into(),
            request_id: None,
            help: None,
            doubtful: false,
        }
    }

    /// The same error with what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether the class is `class`.
    pub fn is(&self, class: ErrorClass) -> bool {
        self.class == class
    }

    /// What to do, in a sentence.
    pub fn remedy(&self) -> String {
        if let Some(help) = &self.help {
            return help.clone();
        }
        match self.class {
            ErrorClass::Throttled => "wait a little and run the same command again: it continues".into(),
            ErrorClass::Uncertain => "run the same command again: it looks up what was done and continues".into(),
            ErrorClass::NotYet => "run the same command again in a minute: it continues".into(),
            ErrorClass::NotFound => "plan again: something this needs is gone".into(),
            ErrorClass::Exists => "where the stack made it itself, `cofferdam orphans STACK --adopt` takes it into the state; else import it \
                 (cofferdam import), or give this one another name"
                    .into(),
            ErrorClass::Denied => format!("allow `{}` to the credentials in use, or use others", self.call),
            ErrorClass::Quota => "raise the quota in the Service Quotas console, or remove what is not needed".into(),
            ErrorClass::Refused => "change the stack as the message says and plan again".into(),
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.call)?;
        if !self.code.is_empty() {
            write!(f, "{}: ", self.code)?;
        }
        f.write_str(&self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for CloudError {}
