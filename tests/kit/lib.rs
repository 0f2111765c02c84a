//! What tests share: databases of their own, signals caught and searched.

pub mod answers;
pub mod canary;
pub mod capture;
pub mod collector;
pub mod database;
pub mod signers;
