//! What tests share: signals caught and searched.

pub mod canary;
pub mod capture;
pub mod collector;
