"""OpenID Connect bearer tokens: people and machines that an identity provider vouches for, beside API keys."""
