"""What a model of wbczoo is for and what it is not for: the sentences that every answer carries."""

INTENDED = (
    "Research on the classification of single white blood cells in images of stained blood smears "
    "like those that it was trained on."
)
NOT_INTENDED = (
    "Diagnosis, or any decision about a patient. It knows only the classes above and answers one "
    "of them for every image, also for one without a white cell. Other stains, scanners and "
    "laboratories must be measured before its answers mean anything there."
)
