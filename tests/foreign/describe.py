"""What a node says of itself to tools that know nothing of it: gRPC reflection, health, `Describe`."""

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "unefois.exchange.v1.ExchangeService"


def describe(channel, deadline_s):
    """The datatypes that the node behind `channel` answers for, asked with what reflection tells and no stub."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {SERVICE, "unefois.ledger.v1.LedgerService", "grpc.health.v1.Health"} <= services, services
    service = DescriptorPool(database).FindServiceByName(SERVICE)
    assert [method.name for method in service.methods] == ["Describe", "Fetch"]
    method = service.FindMethodByName("Describe")
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary(
        f"/{SERVICE}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return [row.datatype for row in call(request(), timeout=deadline_s).datatypes]


def serving(channel, service, deadline_s):
    """Whether the node says that `service` is served."""
    answer = HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=deadline_s)
    return answer.status == health_pb2.HealthCheckResponse.SERVING
