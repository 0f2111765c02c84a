use std::collections::BTreeSet;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::FileDescriptorSet;

use crate::spans::OTHER;

/// Every method that a peer may name in our signals, `unefois.exchange.v1.ExchangeService/Fetch`.
static METHODS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let ours = FileDescriptorSet::decode(unefois_proto::DESCRIPTORS).expect("the build wrote it");
    let standard = ["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"].map(str::to_owned);
    let ours = ours.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            service
                .method
                .iter()
                .map(move |method| format!("{}.{}/{}", file.package(), service.name(), method.name()))
        })
    });
    ours.chain(standard).collect()
});

/// The method that the path of a call names, or [`OTHER`].
pub(crate) fn of_path(path: &str) -> &'static str {
    let name = path.strip_prefix('/').unwrap_or(path);
    METHODS.get(name).map_or(OTHER, String::as_str)
}

/// The HTTP method, where it is a usual one, or [`OTHER`].
pub(crate) fn of_http(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_names_no_method_of_ours_is_other() {
        for path in [
            "",
            "/",
            "/a/b",
            "//unefois.exchange.v1.ExchangeService/Fetch",
            "/Fetch",
        ] {
            assert_eq!(of_path(path), OTHER, "{path}");
        }
        assert_eq!(of_http(&http::Method::from_bytes(b"DUBOIS").unwrap()), OTHER);
    }

    #[test]
    fn the_methods_served_are_known() {
        for method in [
            "unefois.exchange.v1.ExchangeService/Fetch",
            "grpc.health.v1.Health/Check",
        ] {
            assert_eq!(of_path(&format!("/{method}")), method);
        }
    }
}
