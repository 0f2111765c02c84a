use unefois_core::Handle;

use crate::InvalidMessage;
use crate::invalid::Check;
use crate::pb::ledger::v1 as pb;

/// The handles of a History request: 1 to 64, 16 bytes each.
///
/// # Errors
/// [`InvalidMessage`] names the field.
pub fn handles(message: &pb::HistoryRequest) -> Result<Vec<Handle>, InvalidMessage> {
    const MAX: usize = 64;
    let mut check = Check::default();
    if !(1..=MAX).contains(&message.handles.len()) {
        check.wrong("handles", format_args!("1 to {MAX} handles"));
        return check.finish(None);
    }
    let handle = |(i, bytes): (usize, &Vec<u8>)| check.bytes(&format!("handles[{i}]"), bytes);
    let handles: Vec<Handle> = message
        .handles
        .iter()
        .enumerate()
        .filter_map(handle)
        .map(Handle::from_bytes)
        .collect();
    check.finish(Some(handles))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_none_too_many_and_short_ones() {
        for list in [vec![], vec![vec![0; 16]; 65], vec![vec![0; 16], vec![0; 15]]] {
            assert!(
                handles(&pb::HistoryRequest {
                    handles: list,
                    since_us: 0
                })
                .is_err()
            );
        }
        assert_eq!(
            handles(&pb::HistoryRequest {
                handles: vec![vec![1; 16]],
                since_us: 0
            })
            .unwrap()
            .len(),
            1
        );
    }
}
