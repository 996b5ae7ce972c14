import coremltools as ct
import numpy as np
import pytest
import torch

from validators.coreml import CoreMLModel


@pytest.mark.parametrize("labels", [["dog", "cat", "bird"], [10, 20, 30]])
def test_a_classifier_gives_its_label_and_the_probability_of_each_class(labels):
    net = torch.nn.Softmax(dim=-1).eval()
    x = torch.tensor([[0.1, 2.0, -1.0]])
    model = ct.convert(
        torch.jit.trace(net, x),
        inputs=[ct.TensorType(name="x", shape=x.shape)],
        classifier_config=ct.ClassifierConfig(labels, predicted_feature_name="label"),
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    result = CoreMLModel(model).predict({"x": x.numpy()})
    label, probabilities = result.pop("label"), result.popitem()[1]
    assert label == labels[1]
    assert list(probabilities) == labels
    np.testing.assert_allclose(list(probabilities.values()), net(x)[0], rtol=1e-6)
