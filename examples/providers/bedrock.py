"""Amazon Bedrock: OpenAI's own client on Bedrock's OpenAI-compatible endpoint, with a Bedrock API key."""

import os

import openai

import looopy_otel as lo

region = os.environ.get("AWS_REGION", "us-west-2")
base_url = os.environ.get("BEDROCK_BASE_URL", f"https://bedrock-runtime.{region}.amazonaws.com/openai/v1")

with lo.configure(service_name="bedrock"):
    client = lo.wrap(
        openai.OpenAI(base_url=base_url, api_key=os.environ["AWS_BEARER_TOKEN_BEDROCK"]), provider_name="aws.bedrock"
    )
    answer = client.chat.completions.create(
        model=os.environ.get("BEDROCK_MODEL", "openai.gpt-oss-20b-1:0"),
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
    )
    print(answer.choices[0].message.content)
