"""What can be seen of a run.

Runs beside the answer, so it imports the standard library, torch, numpy and safetensors alone.
"""
