"""TLS by files: between the services, where both sides show a certificate, and at the gateway's public doors.

    own = own_certificate(settings)        # None: calls between services are plain
    door = public_certificate(settings)    # None: the gateway serves plain HTTP and gRPC

Files that don't fit are told at start, by the variable that names them. Files that change while the service runs are read
again for new connections; where the new ones don't fit, the old stay in use and the log says why.
"""

from services.common.tls.certificates import Certificate, days_left, read_certificate
from services.common.tls.renewing import CertificateFiles, own_certificate, public_certificate

__all__ = ["Certificate", "CertificateFiles", "days_left", "own_certificate", "public_certificate", "read_certificate"]
