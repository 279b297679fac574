"""EchoFlow: synthetic cardiac ultrasound with the ejection fraction you ask for."""

__version__ = "0.1.0"
