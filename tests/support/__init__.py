"""What tests of several parts need: an OTLP sink, trees to compare, Langfuse's rules, a real LiteLLM proxy."""
