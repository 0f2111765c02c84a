use tonic::service::Routes;
use tonic_health::pb::health_server;
use tonic_reflection::server::Builder;

/// `routes` with gRPC reflection beside them, for tools that know nothing of our contract.
///
/// It lists the health service and `services`, which are those that this process serves, no other. Both versions are
/// served: older tools and the client of Python's grpcio speak v1alpha alone.
pub fn with_reflection(routes: Routes, services: &[&str]) -> Routes {
    let described = || {
        let known = Builder::configure()
            .register_encoded_file_descriptor_set(unefois_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        services.iter().fold(
            known.with_service_name(health_server::SERVICE_NAME),
            |known, name| known.with_service_name(*name),
        )
    };
    let v1 = described().build_v1().expect("the descriptors are compiled in");
    let v1alpha = described()
        .build_v1alpha()
        .expect("the descriptors are compiled in");
    routes.add_service(v1).add_service(v1alpha)
}
