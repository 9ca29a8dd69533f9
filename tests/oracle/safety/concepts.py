"""The decision of the Stable Diffusion safety checker over embeddings. A picture is flagged where its cosine with any concept
exceeds that concept's threshold by more than half a thousandth; where one of the three concepts of special care does, 0.01 is
added to all differences that are computed after it."""
import numpy as np
import torch


def unit(x):
    return x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)


def thousandths(cosine, threshold, adjustment):
    """All in float32, as numpy 2 computes with a float32 and Python's numbers."""
    beyond = (np.float32(cosine) - np.float32(threshold)) + np.float32(adjustment)
    return int(np.rint(beyond * np.float32(1000)))


def decide(sd, embeds):
    """embeds [n, width] float32 -> (special [n, 3], concepts [n, 17]) in thousandths, flagged [n]."""
    special = (unit(embeds) @ unit(sd['special_care_embeds'].float()).T).numpy()
    concepts = (unit(embeds) @ unit(sd['concept_embeds'].float()).T).numpy()
    all_special, all_concepts = [], []
    for row in range(len(embeds)):
        adjustment, scores = 0.0, []
        for i, threshold in enumerate(sd['special_care_embeds_weights'].tolist()):
            scores.append(thousandths(special[row, i], threshold, adjustment))
            if scores[-1] > 0:
                adjustment = 0.01
        all_special.append(scores)
        all_concepts.append([thousandths(concepts[row, i], threshold, adjustment)
                             for i, threshold in enumerate(sd['concept_embeds_weights'].tolist())])
    concepts = torch.tensor(all_concepts)
    return torch.tensor(all_special), concepts, (concepts > 0).any(1)


def margin(sd, embeds):
    """For each embedding how far its nearest difference is from where it would be rounded the other way, in thousandths, in
    float64."""
    cosines = lambda name: unit(embeds.double()) @ unit(sd[name].double()).T - sd[name + '_weights'].double()
    beyond = torch.cat((cosines('special_care_embeds'), cosines('concept_embeds')), 1) * 1000 - 0.5
    return (beyond - beyond.round()).abs().amin(1)
