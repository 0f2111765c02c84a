//! Measurements that need every role: an authority and its producers, each in processes of their own.

mod bare;
mod hand;
pub mod mint;
mod process;
pub mod producers;
mod unread;
mod way;
pub mod withdraw;
