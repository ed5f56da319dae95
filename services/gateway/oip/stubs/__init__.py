"""Generated messages of the Open Inference Protocol, in a descriptor pool of their own.

Every client of the protocol registers the same names in protobuf's default pool, which refuses a second definition: with
the stubs there, a program that imports the gateway and `tritonclient` would end at the second import.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
