"""`python -m services.<service> --check`: looks at everything that the service needs, and says what to do about what is amiss.

It starts nothing, migrates nothing and makes nothing; it may run beside the service that it checks. `regrow doctor` collects
the findings of all services of a machine.
"""

from services.common.checking.findings import Finding, Verdict, check_if_asked

__all__ = ["Finding", "Verdict", "check_if_asked"]
