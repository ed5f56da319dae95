"""The one door: keys, REST and gRPC for every public call, predictions in process, and feedback."""
