//! Names in the cloud: the letters that services take in them, and the ARNs that follow from them.

use serde_json::{Value, json};

use crate::graph::{Attributes, Problem, template};

/// What is wrong with a name at a path, where a service takes letters and digits in it and, `also`, these characters. A
/// name that is not known yet is not wrong.
pub fn letters(path: &str, name: &str, service: &str, also: &str) -> Option<Problem> {
    let bad = name.chars().find(|c| !c.is_ascii_alphanumeric() && !also.contains(*c));
    let bad = bad.filter(|_| !name.contains("${"))?;
    let each: Vec<String> = also.chars().map(String::from).collect();
    let takes = match each.as_slice() {
        [one] => format!("letters, digits and `{one}`"),
        [one, other] => format!("letters, digits, `{one}` and `{other}`"),
        many => format!("letters, digits and `{}`", many.join(" ")),
    };
    let message = format!("`{bad}` in `{name}`: {service} takes {takes}");
    Some(Problem::at(path, message).help("choose another name"))
}

/// The ARN as an output, where the name is known and an ARN follows from it.
pub fn predicted_arn(attributes: &Attributes, arn: impl FnOnce(&str) -> Option<String>) -> Attributes {
    let name = attributes.get("name").filter(|name| !template::is_unknown(name)).and_then(Value::as_str);
    Attributes::from_iter(name.and_then(arn).map(|arn| ("arn".to_owned(), json!(arn))))
}
