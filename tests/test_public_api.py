"""The public names: a reviewed list, and what `import kernelearn` may cost.

A change of the list is a change of what users may rely on: make it here, and say so in CHANGELOG.md.
"""

import importlib
import json
import subprocess
import sys
import textwrap

import pytest

import kernelearn

# Modules whose names need a package that the tests do without.
NEEDED = {"kernelearn.torch": ("torch",)}
OPTIONAL = {"sklearn", "PIL", "matplotlib", "scipy", "rich", "typer", "torch", "keras", "pandas", "llvmlite"}

PUBLIC = {
    "kernelearn": """
        CNNClassifier CNNRegressor Input Model Sequential __version__ activations callbacks config constraints
        data distribute engine errors explain get_num_threads initializers kernel_machines layers learn
        load_model losses metrics mixed_precision models ops optimizers parallel random recording
        regularizers saving schedules set_num_threads set_random_seed utils
        function grad minimize value_and_grad conversion from_keras watch watch_keras watching to_keras
        from_torch load_torch_state_dict to_torch to_torch_state_dict
    """,
    "kernelearn.saving": """
        CustomObjectScope custom_object_scope deserialize_keras_object get_custom_objects
        get_registered_name get_registered_object load_model register register_keras_serializable
        save_model serialize_keras_object
    """,
    "kernelearn.conversion": "from_keras to_keras",
    "kernelearn.watching": """
        NumberedLoader Watcher ignite_handler lightning_callback trainer_callback watch watch_keras
    """,
    "kernelearn.torch": "Explanation Step arrange compile_graph explain optimize",
    "kernelearn.activations": """
        celu elu exponential gelu get hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu
        linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus
        softsign sparse_plus sparse_sigmoid squareplus swish tanh tanh_shrink threshold
    """,
    "kernelearn.parallel": """
        DEFAULT_SHARDS Exchange distribute exchange is_first
    """,
    "kernelearn.callbacks": """
        BackupAndRestore CSVLogger Callback CallbackList EarlyStopping GradualUnfreezing History
        LambdaCallback
        LearningRateScheduler ModelCheckpoint ProgbarLogger ProgressBar ReduceLROnPlateau
        SwapEMAWeights TensorBoard TerminateOnNaN
    """,
    "kernelearn.data": """
        ACCEPTED Data Dataset Description StreamDataset as_dataset load load_image read_idx save_idx
        save_image_folder
    """,
    "kernelearn.explain": """
        Activation ChainEquivalent Contribution DenseEquivalent ErrorPath ExperimentResult
        ExperimentSettings FilterBank Geometry Hint History ImagePass KernelHealth LearningCurves
        Ledger Movement ReceptiveField RunComparison Table Unit UpdateSplit activation
        activation_history activation_maximization batch_images channel_activity compare_layers
        compare_runs delta dense_equivalent effective_receptive_field factors_of feature_maps
        filter_bank filter_bank_history frequency_response geometry geometry_of grad_cam
        gradient_by_image gradient_of hints history image integrated_gradients joint kernel_health
        kernel_shape learning_curves ledger moved_most movement receptive_field receptive_fields
        run_experiment saliency smooth_grad split_update top_patches unit update_split
    """,
    "kernelearn.initializers": """
        Constant FilterBank FromLayer GaborBank GaussianBank GlorotNormal GlorotUniform HeNormal
        HeUniform Identity Initializer Laplacian LecunNormal LecunUniform Ones Orthogonal
        PrewittBank RandomInitializer RandomNormal RandomUniform SobelBank TruncatedNormal
        VarianceScaling Zeros compute_fans deserialize get serialize
    """,
    "kernelearn.kernel_machines": """
        Certificate ConvexHullKernelClassifier ConvexHullKernelRegressor ConvexKernelLearner
        FeatureKernels HyperkernelClassifier HyperkernelOneClass HyperkernelRegressor Kernel KernelHead
        MultipleKernelClassifier MultipleKernelOneClass SemidefiniteKernelClassifier default_bank
        empirical_ntk on_blocks poly_bank rbf_bank
    """,
    "kernelearn.layers": """
        Activation Add Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D
        AvgPool3D BatchNormalization CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D
        Conv2DTranspose Conv3D Conv3DTranspose Convolution1D Convolution1DTranspose Convolution2D
        Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D
        Dense DepthwiseConv1D DepthwiseConv2D Dropout ELU Flatten GaussianNoise GlobalAveragePooling1D
        GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D
        GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D
        GlobalMaxPooling3D GroupNormalization Input InputLayer LAYERS Layer LayerNormalization LeakyReLU
        LearnedArray
        LocallyConnected2D MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum
        Minimum Multiply Normalization PReLU Permute RandomContrast RandomCrop RandomFlip RandomRotation
        RandomTranslation RandomZoom ReLU Rescaling Reshape Resizing SeparableConv1D SeparableConv2D
        SeparableConvolution1D SeparableConvolution2D Softmax SpatialDropout1D SpatialDropout2D
        SpatialDropout3D Subtract UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
        ZeroPadding3D add average concatenate maximum minimum multiply subtract
        Lambda OperationLayer WeightedOperation
        Dot EinsumDense dot
        ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
        AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AlphaDropout Embedding GaussianDropout
        GlobalResponseNormalization Identity Masking RMSNormalization RepeatVector StochasticDepth
        TimeDistributed UnitNormalization Wrapper
        AdditiveAttention Attention GroupQueryAttention MultiHeadAttention
        CutMix MixUp RandomBrightness RandomColorDegeneration RandomColorJitter RandomErasing
        RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPosterization RandomSaturation
        RandomSharpness Solarization
        SpectralNormalization
    """,
    "kernelearn.models": """
        CachedFeatures Input Model Sequential load_model zoo
        clone_model model_from_json
    """,
    "kernelearn.conversion.onnx": """
        export_model from_onnx load_model save_model to_onnx
    """,
    "kernelearn.losses": """
        CTC CategoricalGeneralizedCrossEntropy Circle Dice Tversky categorical_generalized_cross_entropy
        circle ctc dice tversky
        BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy LOSSES
        CategoricalFocalCrossentropy CategoricalHinge CosineSimilarity Hinge Huber KLDivergence
        LogCosh Loss MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
        MeanSquaredLogarithmicError Poisson SparseCategoricalCrossentropy SquaredHinge
        binary_crossentropy binary_focal_crossentropy categorical_crossentropy
        categorical_focal_crossentropy categorical_hinge cosine_similarity deserialize get hinge
        huber kl_divergence log_cosh mean_absolute_error mean_absolute_percentage_error
        mean_squared_error mean_squared_logarithmic_error poisson sample_factors serialize
        sparse_categorical_crossentropy squared_hinge
    """,
    "kernelearn.metrics": """
        AUC METRICS Accuracy BinaryAccuracy BinaryCrossentropy CategoricalAccuracy CategoricalCrossentropy
        CategoricalHinge ConfusionMatrix CosineSimilarity F1Score FBetaScore FalseNegatives
        FalsePositives Hinge KLDivergence LogCoshError LossMetric Mean MeanAbsoluteError
        MeanAbsolutePercentageError MeanMetric MeanMetricWrapper MeanSquaredError
        MeanSquaredLogarithmicError Metric Poisson Precision R2Score Recall RootMeanSquaredError
        SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy
        SquaredHinge Sum TopKCategoricalAccuracy TrueNegatives TruePositives deserialize get resolve
        BinaryIoU ConcordanceCorrelation IoU MeanIoU OneHotIoU OneHotMeanIoU PearsonCorrelation
        PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity
        concordance_correlation pearson_correlation
        serialize
    """,
    "kernelearn.ops": """
        adaptive_average_pool adaptive_max_pool
        activation affine_transform average_pool batch_normalization bias_add binary_crossentropy
        categorical_crossentropy celu conv conv_grad_input conv_grad_kernel conv_transpose dense
        depthwise_conv dropout elu exponential gelu global_average_pool global_max_pool hard_shrink
        hard_sigmoid hard_silu hard_swish hard_tanh layer_normalization leaky_relu linear
        log_sigmoid log_softmax max_pool mish moments one_hot relu relu6 resize selu separable_conv
        sigmoid silu soft_shrink softmax softplus softsign sparse_categorical_crossentropy
        sparse_plus sparse_sigmoid squareplus swish tanh tanh_shrink threshold upsample
        add get_item maximum minimum multiply negative subtract
        cross diagonal dot dot_product_attention einsum inner kron matmul outer tensordot trace vdot vecdot
        depth_to_space glu multi_hot normalize rms_normalization space_to_depth
        append argpartition bincount diagflat digitize dsplit dstack empty_like
        extract_sequences fliplr flipud geomspace hsplit isin logspace segment_min
        unravel_index vsplit
        diff median percentile psnr quantile select unfold
        arange argsort array array_split atleast_1d atleast_2d broadcast_to concatenate
        convert_to_numpy convert_to_tensor diag empty expand_dims eye flip full
        full_like hstack identity in_top_k is_tensor linspace meshgrid moveaxis ndim nonzero
        ones ones_like pad ravel repeat reshape roll rot90 scatter scatter_update
        searchsorted segment_max segment_sum shape size slice slice_update sort split
        squeeze stack swapaxes take take_along_axis tile top_k transpose tri tril triu
        unstack vstack zeros zeros_like
        abs absolute acos acosh all amax amin any arccos arccosh arcsin arcsinh arctan arctan2
        arctanh argmax argmin asin asinh atan atan2 atanh cast ceil clip cos cosh count_nonzero
        cumprod cumsum divide equal erf erfinv exp expm1 floor floor_divide greater
        greater_equal isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp
        logical_and logical_not logical_or logical_xor logsumexp max mean min mod nan_to_num norm
        not_equal power prod reciprocal round rsqrt sign sin sinh sqrt square std
        stop_gradient sum tan true_divide trunc var where
    """,
    "kernelearn.ops.image": """
        affine_transform crop_images elastic_transform extract_patches extract_patches_3d gaussian_blur
        hsv_to_rgb map_coordinates pad_images perspective_transform resize rgb_to_grayscale rgb_to_hsv
        sobel_edges ssim
    """,
    "kernelearn.optimizers": """
        Adadelta Adagrad Adam AdamW Adamax Lion Nadam Optimizer RMSprop SGD Slot deserialize get
        Adafactor Ftrl Lamb LossScaleOptimizer Muon ScheduleFreeAdamW
        schedules serialize
    """,
    "kernelearn.optimizers.schedules": """
        ConstantSchedule CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay
        LearningRateSchedule OneCycle PiecewiseConstantDecay PolynomialDecay deserialize get
        serialize
    """,
    "kernelearn.random": """
        SeedGenerator bernoulli beta binomial categorical dropout gamma normal permutation randint shuffle
        truncated_normal uniform
    """,
    "kernelearn.recording": """
        Factors Intervention Interventions Part Recorder Run RunWriter StageRecord export list_runs prune
    """,
    "kernelearn.mixed_precision": """
        global_policy set_global_policy
    """,
    "kernelearn.view": """
        Microscope export_page plot_activation plot_attribution plot_data_grid plot_delta
        plot_dense_equivalent plot_experiment plot_feature_maps plot_filmstrip plot_filter_bank
        plot_filter_bank_history plot_geometry plot_history plot_image_pass plot_kernels
        plot_layers_compared plot_learning_curves plot_ledger plot_network plot_neurons plot_patches
        plot_preferred plot_receptive_fields plot_runs_compared plot_unit plot_unit_neuron
        plot_update_split plot_weight_history save_figure serve write_report
    """,
    "kernelearn.utils": """
        clear_session floatx set_floatx set_random_seed to_categorical
        unpack_x_y_sample_weight
    """,
}


def run(code: str) -> str:
    """The output of a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_public_names(module):
    assert sorted(importlib.import_module(module).__all__) == sorted(PUBLIC[module].split())


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_every_public_name_is_there(module):
    for package in NEEDED.get(module, ()):
        pytest.importorskip(package)
    home = importlib.import_module(module)
    assert [name for name in home.__all__ if not hasattr(home, name)] == []


def test_dir_shows_the_public_names():
    assert dir(kernelearn) == sorted(kernelearn.__all__)


def test_the_type_checker_sees_the_same_names():
    from_table = {*kernelearn._MODULES, *kernelearn._OBJECTS, "__version__"}
    assert from_table == set(kernelearn.__all__)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"no attribute 'Sequental'.*Sequential"):
        kernelearn.Sequental  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    ["import kernelearn", "from kernelearn import Sequential, layers, data, optimizers, callbacks"],
)
def test_nothing_optional_is_imported(statement):
    loaded = json.loads(run(f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"))
    assert "kernelearn" in loaded
    assert OPTIONAL & set(loaded) == set()


def test_the_engine_inside_pytorch_is_found_and_hides_nothing():
    assert importlib.import_module("kernelearn").torch is importlib.import_module("kernelearn.torch")
    assert "torch" not in kernelearn.__all__


def test_import_kernelearn_loads_nothing_heavy():
    """What keeps the import under 0.25 s, without a clock: not even NumPy is loaded."""
    loaded = run("import kernelearn, sys; print([m for m in sys.modules if m.split('.')[0] == 'numpy'])")
    assert loaded.strip() == "[]"


def test_the_snippet_of_keras_users():
    printed = run(
        """
        from kernelearn import Sequential
        from kernelearn.layers import Conv2D
        model = Sequential()
        model.add(Conv2D(12, kernel_size=3, input_shape=(25, 25, 1)))
        weights = model.get_weights()
        print(weights[0].shape)
        print(weights[1])
        """
    )
    assert printed == "(3, 3, 1, 12)\n[0. 0. 0. 0. 0. 0. 0. 0. 0. 0. 0. 0.]\n"
