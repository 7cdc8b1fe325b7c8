"""Loss: members have a smaller cross-entropy (Yeom et al., CSF 2018)."""

import numpy as np

from common.attacks import statistics
from common.attacks.threshold import attack


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y, the negative cross-entropy, as -log(1 + sum over i != y of exp(z_i - z_y)).

    So written it still tells answers apart whose p_y rounds to 1, as the most confident members' does.
    """
    return -np.logaddexp(0, -statistics.phi_of(logits, labels))


ATTACK = attack("loss", statistics.phi_of, source="Yeom et al., CSF 2018", published=True)
