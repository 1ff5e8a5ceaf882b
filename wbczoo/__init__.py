"""wbczoo composes white blood cell classifiers from plugins, measures and ships them."""

import os

__version__ = "0.1.0"

# Patients' images pass through here, so that what libraries would send to their makers stays off
# unless somebody turned it on. onnxruntime looks when it is loaded, so this stands before all.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_switch, "1")
