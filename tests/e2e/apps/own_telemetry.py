# SPDX-License-Identifier: MIT
"""The application of steps.py, with OpenTelemetry configured by the application itself.

The provider's spans have a context and go nowhere, so that no SDK is needed.
"""

import random

from opentelemetry import trace
from steps import app


class Tracer(trace.NoOpTracer):
    """Makes a new sampled span each time."""

    def start_span(self, *args, **kwargs):
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        ids = random.getrandbits(128), random.getrandbits(64)
        return trace.NonRecordingSpan(trace.SpanContext(*ids, is_remote=False, trace_flags=flags))

    def start_as_current_span(self, *args, **kwargs):
        return trace.use_span(self.start_span())


class Provider(trace.TracerProvider):
    """What an application would set up with the SDK."""

    def get_tracer(self, *args, **kwargs):
        return Tracer()


trace.set_tracer_provider(Provider())
assert app
