"""Made-up secrets, each with the marker that stands in its place."""

from __future__ import annotations

# Joined from pieces, so that scanners of repositories have nothing to find.
SECRETS: dict[str, tuple[str, str]] = {
    "openai": ("sk-" + "proj-abcDEF1234567890abcdEFGH", "openai-key"),
    "openai, letters only": ("sk-" + "abcdefghijklmnopqrstuvwxyz", "openai-key"),
    "litellm master": ("sk-" + "1234", "litellm-key"),
    "litellm virtual": ("sk-" + "aB3dEfGhIj12", "litellm-key"),
    "anthropic": ("sk-ant-" + "api03-abcdefghijklmnop_q-AA", "anthropic-key"),
    "langfuse secret": ("sk-lf-" + "12345678-90ab-cdef-1234-567890abcdef", "langfuse-key"),
    "langfuse public": ("pk-lf-" + "12345678-90ab-cdef-1234-567890abcdef", "langfuse-key"),
    "aws": ("AKIA" + "IOSFODNN7EXAMPLE", "aws-key"),
    "google": ("AIza" + "SyA1234567890abcdefghijklmnopqrstuv", "google-key"),
    "github": ("ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789", "github-token"),
    "github, fine-grained": ("github_pat_" + "11ABCDEFG0abcdefghij_klmnop", "github-token"),
    "gitlab": ("glpat-" + "abcdefghij1234567890", "gitlab-token"),
    "slack": ("xoxb-" + "123456789012-abcdefABCDEF", "slack-token"),
    "stripe": ("sk_live_" + "abcdefghijklmnop1234", "stripe-key"),
    "stripe restricted": ("rk_test_" + "abcdefghijklmnop1234", "stripe-key"),
    "hugging face": ("hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH", "huggingface-token"),
    "groq": ("gsk_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH123456", "groq-key"),
    "jwt": ("eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "jwt"),
    "pem": ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----", "private-key"),
}
