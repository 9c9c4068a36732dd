"""Speaks to a daemon with Debian's python3-grpcio: peer.py ADDRESS CERTS IMAGE. No generated code."""
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

address, certs, image = sys.argv[1:]
files = descriptor_pb2.FileDescriptorSet.FromString(open(image, "rb").read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
factory = message_factory.MessageFactory(pool)


def kind(name):
    descriptor = pool.FindMessageTypeByName(name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return factory.GetPrototype(descriptor)


def read(name):
    return open(f"{certs}/{name}", "rb").read()


credentials = grpc.ssl_channel_credentials(read("ca.crt"), read("node.key"), read("node.crt"))
channel = grpc.secure_channel(address, credentials, [("grpc.max_send_message_length", -1)])


def method(service, name, stream=False):
    found = pool.FindServiceByName(service).FindMethodByName(name)
    request, answer = kind(found.input_type.full_name), kind(found.output_type.full_name)
    make = channel.unary_stream if stream else channel.unary_unary
    call = make(f"/{service}/{name}", request.SerializeToString, answer.FromString)
    return lambda **fields: call(request(**fields), timeout=10)


def coordinator(name):
    return method("steep.repl.v1.Coordinator", name)


def enum(message, field):
    return message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[getattr(message, field)].name


def refusal(call, **fields):
    try:
        call(**fields)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


facts = {"node_id": "node-p", "node_name": "Python", "host": "10.1.1.1"}
health = coordinator("HealthCheck")()
print("HealthCheck", enum(health, "status"), health.node_id)
registered = coordinator("RegisterNode")(**facts)
print("RegisterNode", registered.success, [n.node_id for n in registered.nodes if n.node_id == "node-p"][0])
print("Heartbeat", coordinator("Heartbeat")(node_id="node-p").acknowledged)
metadata = kind("steep.repl.v1.NodeMetadata")(node_id="node-p", priority=77)
print("SyncNodeMetadata", coordinator("SyncNodeMetadata")(metadata=metadata).success)
(own,) = [n for n in coordinator("GetNodes")().nodes if n.node_id == "node-p"]
print("GetNodes", own.node_id, own.node_name, own.priority)
print("Check", enum(method("grpc.health.v1.Health", "Check")(), "status"))
watch = method("grpc.health.v1.Health", "Watch", stream=True)()
print("Watch", enum(next(watch), "status"))
watch.cancel()
print("other", refusal(coordinator("Heartbeat"), node_id="node-a"))
print("invalid", refusal(coordinator("RegisterNode"), **{**facts, "port": 70000}))
print("unknown", refusal(coordinator("HealthCheck"), service="kitchen"))
print("conflict", refusal(coordinator("RegisterNode"), **{**facts, "cluster_id": "another"}))
print("too large", refusal(coordinator("RegisterNode"), **{**facts, "node_name": "x" * 5 * 1024 * 1024}))
