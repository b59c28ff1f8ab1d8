//! Clients of AWS: credentials, endpoints, and the one gate through which every call goes.

mod call;
mod clients;
pub mod facts;

pub use crate::apply::gate::CallCounts;
pub use call::{Calls, item_error};
pub use clients::{Aws, Connect, ConnectError};
