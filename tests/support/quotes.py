"""Figures that the pages quote, each with where it is looked up in what was printed.

Each of `QUOTES` is a page, a piece of its text with a field for every number, and the numbers.
The fields round as the page does. To quote a figure, write the sentence, and add a line here that
reads its numbers off the kept output: `row` gives those of a line.
"""

from kept_outputs import (
    ENSEMBLES,
    IF,
    ON_LOIHI,
    ROOT,
    Grid,
    balance_online,
    changes,
    chosen,
    chosen_to_be_small,
    counts,
    cuda_decayed,
    cuda_norms,
    digits,
    digits_over_strengths,
    digits_summary,
    emptied,
    errors_at,
    few_bits,
    frontier,
    gain_by_group,
    made_smaller,
    many_best,
    neurons_on_digits,
    neurons_on_signals,
    norms_and_errors_online,
    norms_of_ensembles,
    on_loihi,
    on_the_front,
    one_best,
    penalties_of_ensembles,
    plain_networks,
    row,
    searched_by_group,
    sequence,
    size_of_grid,
    slopes_of_lif,
    small_weights,
    spikes_on_loihi,
    standard_error,
    starred,
    ties,
    tried,
    with_neurons_of_nengo,
    with_too_much_decay,
    with_weakest_decays,
)

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
CHOOSING = "docs/choosing_a_strength.md"
PENALTY = "docs/penalty_or_decay.md"
RATES = "docs/firing_rates.md"
WHICH = "docs/which_way.md"
ONLINE = "docs/online_decay.md"
NEURONS = "docs/neurons_that_train_well.md"
BENCHMARKS = "docs/benchmarks.md"
FOR_SPIKES = "docs/training_for_spikes.md"
SMALLER = "docs/smaller_networks.md"
HARDWARE = "docs/from_training_to_hardware.md"
README = "README.md"
WARNINGS = "nengo_wd/_neurons.py"
WAYS = ("plain", "rate targets", "with noise", "with spikes", "with both")

QUOTES = [
    (
        README,
        "the norms of its layers are {:.0f} % to {:.0f} % of those without, and its spiking "
        "neurons read {:.1f} % of the test digits correctly, against {:.1f} % without (standard "
        "error {:.1f} %)",
        digits_summary,
    ),
    *(
        (
            README,
            f"| {name} | {{:.1f}} % | {{:.0f}} % |",
            lambda way=way: [starred(IF, way)[i] for i in (6, 9)],
        )
        for name, way in (
            ("no regularization", "plain"),
            ("targets for firing rates", "rate targets"),
            ("KerasSpiking's activity regularizer", "KerasSpiking"),
            ("rate targets, noise, then spikes", "with both"),
        )
    ),
    (
        README,
        "The last network takes {:.0f} % of the joules of the first",
        lambda: on_the_front(IF, "with both")[3:4],
    ),
    (
        README,
        "With LIF neurons, the accuracy is {:.1f} % against {:.1f} %, for {:.0f} % of the events",
        lambda: [
            starred("LIF", way)[i] for way, i in (("with both", 6), ("plain", 6), ("with both", 9))
        ],
    ),
    *(
        (
            RATES,
            f"| {strength} | {{:.1f}} % | {{:.1f}} % | {{:.0f}} |",
            lambda way=way, strength=strength: frontier(IF, way, strength)[::2],
        )
        for way in ("plain", "rate targets")
        for strength in tried(IF, way)
    ),
    (
        RATES,
        "has the same effect: {:.1f} % with spikes, and {:.0f} events",
        lambda: frontier(IF, "KerasSpiking", 0.003)[2::2],
    ),
    *(
        (
            FOR_SPIKES,
            f"| {neurons}, {way} | {{:.1f}} % | {{:.1f}} % | {{:.1f}} +- {{:.1f}} % | {{:.0f}} |",
            lambda neurons=neurons, way=way: chosen(neurons, way),
        )
        for neurons in (IF, "LIF")
        for way in WAYS
    ),
    *(
        (
            SMALLER,
            f"| {way} | {strength} | {{:.1f}} +- {{:.1f}} % | {{:.0f}} | {{:.0f}} | {{:.1f}} |",
            lambda way=way, strength=strength: made_smaller(way, strength),
        )
        for way, strength in (
            ("plain", "none"),
            ("plain, as long", "none"),
            ("whole, as long", "none"),
            ("pruned", 0.004),
            *(
                (way, n)
                for n in (0.006, 0.007, 0.0075)
                for way in ("pruned", "small from the start")
            ),
        )
    ),
    *(
        (
            SMALLER,
            f"{text} has {{:.0f}} % of plain's joules, {{:.0f}} % of its events and {{:.0f}} % of "
            "its neurons, and is right in {:.1f} %",
            lambda title=title: chosen_to_be_small(title),
        )
        for text, title in (
            ("with at most 35 % of plain's joules", "The most accurate with at most"),
            ("plain, trained as long, on validation,", "The cheapest that is as accurate"),
        )
    ),
    *(
        (
            SMALLER,
            f"| {name} | {rate} | {strength} | {{:.0f}} | {{:.0f}} | {{:.1f}} % | {{:.1f}} |",
            lambda name=name, rate=rate, strength=strength: emptied(name, rate, strength),
        )
        for name, rate, strength in (
            ("SGD", 0.3, 0.007),
            ("SGD with momentum", 0.03, 0.007),
            ("SGD with momentum", 0.03, 0.07),
            ("Adam", 0.005, 0.07),
            ("Adam", 0.005, 0.3),
            ("Adam", 0.005, 0.5),
        )
    ),
    (
        HARDWARE,
        "cut the synaptic events of an answer from {:.0f} to {:.0f}, and raise the accuracy with "
        "spikes from {:.1f} % to {:.1f} %",
        lambda: [
            made_smaller(way, "none")[i]
            for i in (3, 0)
            for way in ("plain, as long", "whole, as long")
        ],
    ),
    (
        HARDWARE,
        "they bring {:.0f} of 50 channels to zero",
        lambda: emptied("SGD", 0.3, 0.007)[1:2],
    ),
    (
        HARDWARE,
        "is right in {:.1f} % with {:.0f} neurons, for {:.1f} microjoules on Loihi. Plain training "
        "that takes as long leads to {:.1f} % with {:.0f} neurons, for {:.1f} microjoules",
        lambda: [
            made_smaller(*run)[i]
            for run in (("pruned", 0.006), ("plain, as long", "none"))
            for i in (0, 2, 4)
        ],
    ),
    *(
        (
            HARDWARE,
            f"| {way} | {{:.0f}} | {{:.1f}} +- {{:.1f}} % | {{:.1f}} +- {{:.1f}} % | "
            "{:.0f} | {:.0f} | {:.1f} |",
            lambda kept_in=kept_in, way=way: on_loihi(kept_in, way),
        )
        for kept_in in ON_LOIHI
        for way in ("plain", "regularized")
    ),
    *(
        (
            HARDWARE,
            f"| {layer} | {{:.1f}} | {{:.1f}} |",
            lambda kept_in=kept_in, layer=layer: spikes_on_loihi(kept_in, layer),
        )
        for kept_in in ON_LOIHI
        for layer in ("first (on the host)", "second", "third")
    ),
    (
        HARDWARE,
        "NengoDL has {:.0f} spikes in all with Nengo's neurons and the same weights, and {:.0f} "
        "with the chip's",
        with_neurons_of_nengo,
    ),
    (
        FOR_SPIKES,
        "Trained on rates, it reaches {:.1f} % on rates and {:.1f} % with spikes.",
        lambda: sequence("plain")[:3:2],
    ),
    (
        FOR_SPIKES,
        "it reaches {:.1f} % with spikes, with as many events",
        lambda: sequence("with spikes")[2:3],
    ),
    (
        CHOOSING,
        "| L2 penalty | {:g} | {:.1f} to {:.1f} | {:.0f} to {:.0f} % |",
        lambda: one_best("penalty"),
    ),
    (
        CHOOSING,
        "| decay times learning rate | {:g} to {:g} | {:.1f} to {:.1f} | {:.0f} to {:.0f} % |",
        lambda: many_best("decay"),
    ),
    (
        CHOOSING,
        "| the same, not scaled | {:g} to {:g} | {:.1f} to {:.1f} | {:.0f} to {:.0f} % |",
        lambda: many_best("unscaled"),
    ),
    (
        CHOOSING,
        "With the weakest decays that we tried, the norm is {:.0f} to {:.0f} and the error "
        "{:.0f} to {:.0f} %.",
        with_weakest_decays,
    ),
    (
        CHOOSING,
        "with 500 steps, that is {:g} at a learning rate of 0.01; the best is {:g}",
        lambda: [1 / (0.01 * 500), Grid("decay").best_at("0.01")],
    ),
    (
        CHOOSING,
        "at a learning rate of 0.01, penalties of 0.0032, 0.01 and 0.032 give errors of {:.0f}, "
        "{:.0f} and {:.0f} %",
        lambda: errors_at("0.01", [0.0032, 0.01, 0.032]),
    ),
    (
        CHOOSING,
        "With one more step, 0.1, the network learns nothing ({:.0f} %, a norm of {:.1f})",
        lambda: Grid("penalty").at("0.01", 0.1),
    ),
    (
        CHOOSING,
        "The norm goes from {:.1f} down to {:.1f} ({:.1f} without), the validation accuracy is "
        "{:.1f} to {:.1f} % ({:.1f} % without).",
        digits_over_strengths,
    ),
    (
        CHOOSING,
        "The test accuracy was {:.1f} % against {:.1f} % without",
        lambda: digits_summary()[2:4],
    ),
    (
        CHOOSING,
        "93.1 % against 93.0 %. Its standard error is {:.1f} %.",
        lambda: [standard_error(93.0)],
    ),
    (
        CHOOSING,
        "the norms are {:.0f} and {:.0f} against {:.1f} and {:.1f}.",
        norms_of_ensembles,
    ),
    (
        CHOOSING,
        "penalties of one order, {:.3f} to {:.3f} each. The error against the true function falls "
        "from {:.2f} to {:.2f}.",
        lambda: penalties_of_ensembles() + row(ENSEMBLES, "RMSE")[1:3],
    ),
    (
        CHOOSING,
        "end at norms of {:.1f} and {:.1f} instead of {:.1f} and {:.1f} (means of three seeds)",
        cuda_decayed,
    ),
    (
        CHOOSING,
        "The first, without decay, grows to {:.1f} instead of {:.1f}",
        lambda: cuda_norms("conv1"),
    ),
    (
        CHOOSING,
        "the encoder's norm falls by {:.0f} % and the decoder's grows by {:.0f} % (by {:.0f} % "
        "without penalty)",
        lambda: (
            changes(0.0002, "encoder.kernel shrinks", "decoder.kernel grows")
            + changes(0, "decoder.kernel grows")
        ),
    ),
    (
        CHOOSING,
        "the *smallest* ends with the largest share, {:.0f} % of the training loss against "
        "{:.0f} % for the largest",
        lambda: [digits("0.0003")[2], digits("0.01")[2]],
    ),
    (
        CHOOSING,
        "error {:.0f} to {:.0f} %, norm {:.1f} to {:.1f} (`penalty_or_decay.py`)",
        with_too_much_decay,
    ),
    (
        CHOOSING,
        "a decoder grows by {:.0f} % while the encoder falls by {:.0f} % (`decay_strength.py`)",
        lambda: changes(0.0002, "decoder.kernel grows", "encoder.kernel shrinks"),
    ),
    (
        CHOOSING,
        "ten times the penalty: the encoder falls by {:.0f} % instead of {:.0f} %",
        lambda: (
            changes(0.002, "encoder.kernel shrinks") + changes(0.0002, "encoder.kernel shrinks")
        ),
    ),
    (
        CHOOSING,
        "one such decay for all learning rates costs {:.1f} points (`penalty_or_decay.py`)",
        lambda: ties()[-1:],
    ),
    (
        CHOOSING,
        "by {:.1f} points without decay, by {:.1f} with it (`cuda_convnet_layers.py`; three seeds)",
        lambda: row("cuda_convnet_layers", "From rates to spikes"),
    ),
    (
        CHOOSING,
        "in {} trials. It prunes {} of them. The best strengths are {} for kernels, {:f} for "
        "biases and {} for rates (per Hz). From other initial weights, these have a test error of "
        "{:.1f} +- {:.1f} %, against {:.1f} +- {:.1f} % without",
        searched_by_group,
    ),
    (
        CHOOSING,
        "found by as many trials, has {:.1f} +- {:.1f} %. So separate groups gain {:.1f} +- "
        "{:.1f} points here",
        gain_by_group,
    ),
    (PENALTY, "over {} learning rates and {} decays, in {} ways", size_of_grid),
    (
        PENALTY,
        "| L2 penalty | {:.2f} | {:.1f} points of validation error | "
        "| decay times learning rate | {:.2f} | {:.1f} points | "
        "| decay, not scaled | {:.2f} | {:.1f} points |",
        ties,
    ),
    *[
        (
            ONLINE,
            "| {:g} | {:.2f}e-3 | {:.2f}e-3 | {:.3f} |",
            lambda rate=rate: balance_online(rate),
        )
        for rate in ("0.01", "0.03", "0.1", "0.3", "1")
    ],
    (
        ONLINE,
        "| no decay | {:.1f}e-3, and growing | {:.1f} | | decay to zero | {:.2f}e-3 | {:.2f} | "
        "| decay to the initial values | {:.2f}e-3 | {:.2f} |",
        lambda: norms_and_errors_online("at last"),
    ),
    (
        ONLINE,
        "the error is {:.2f} without decay, {:.2f} with decay to zero and {:.2f} with decay to the "
        "initial values",
        lambda: row("online_decay", "held again"),
    ),
    *[
        (
            WHICH,
            f"| {shown} | {{:.1f}} % | {{:.1f}} % | {{:.1f}} | {{:.0f}} | {{:.2f}} | {{:.0f}} |",
            lambda way=way, strength=strength: small_weights(way, strength),
        )
        for shown, way, strength in (
            ("none", "plain", 0),
            ("decay, 0.03", "decay", 0.03),
            ("L1 penalty, 0.001", "L1 penalty", 0.001),
            ("L1 steps, 0.01", "L1 steps", 0.01),
            ("target norms", "target norms", "found"),
        )
    ],
    *[
        (
            NEURONS,
            f"| {kind} | {{:.1f}} %, {{:.0f}} events | {{:.1f}} %, {{:.0f}} events | "
            "{:.1f} %, {:.0f} events |",
            lambda kind=kind: neurons_on_signals(kind),
        )
        for kind in ("LIF", "LIF, smoothed", "integrate-and-fire")
    ],
    *[
        (
            NEURONS,
            f"| {name} | {{:.1f}} % | {{:.1f}} % |",
            lambda name=name: neurons_on_digits(name),
        )
        for name in (
            "as they come",
            "as they come, smoothed",
            "intercepts 0",
            "max_rates 200",
            "max_rates 200, intercepts 0",
            "max_rates 100, intercepts 0",
            "the same, smoothed",
        )
    ],
    (
        NEURONS,
        "it is {:.0f} Hz at `x = 0.01`, {:.0f} Hz at 0.001 and {:.0f} Hz at 0.0001.",
        lambda: slopes_of_lif()[:3],
    ),
    (NEURONS, "For 0.02 the slope is {:.0f} Hz at most.", lambda: slopes_of_lif()[3:]),
    (
        WARNINGS,
        "spikes of a network of layers from {:.0f} % to {:.0f} %. lif",
        lambda: [neurons_on_signals(kind)[0] for kind in ("LIF", "LIF, smoothed")],
    ),
    (
        WARNINGS,
        'with spikes of a network from {:.0f} % to {:.0f} %. " "warnings',
        lambda: [
            neurons_on_digits(name)[1] for name in ("as they come", "max_rates 100, intercepts 0")
        ],
    ),
    (
        BENCHMARKS,
        "| TensorFlow 2.12.1, Nengo 3.2.0, without the bridge | {} | {} | {} |",
        lambda: counts("tf-2.12.1_nengo-3.2.0"),
    ),
    (
        BENCHMARKS,
        "| TensorFlow 2.12.1, Nengo 4.1.0, without the bridge | {} | {} | {} |",
        lambda: counts("tf-2.12.1_nengo-4.1.0"),
    ),
    (
        BENCHMARKS,
        "| nengo-loihi 1.1.0 | Nengo 3.2.0, NumPy 1.23.5, Python 3.9, without the bridge "
        "| {} | {} | {} |",
        lambda: counts("nengo_loihi"),
    ),
    (
        BENCHMARKS,
        "| KerasLMU 0.7.0 | TensorFlow 2.12.1, NumPy 1.23.5, Python 3.9, without the bridge "
        "| {} | {} | {} |",
        lambda: counts("keras_lmu"),
    ),
    *(
        (BENCHMARKS, f"| {name} | {how} | {{:.1f}} % |", lambda name=name: [plain_networks()[name]])
        for name, how in (
            ("`accuracy_for_energy.py`", "Adam, 40 epochs | 5 | 1,000, of 100 ms"),
            ("`neurons_that_train_well.py`", "Adam, 40 epochs | 5 | 1,000, of 100 ms"),
            ("`smaller_network.py`", "Adam, 40 epochs | 3 | 1,000, of 100 ms"),
            ("`smaller_network.py`, as long", "Adam, 100 epochs | 3 | 1,000, of 100 ms"),
            ("`on_loihi.py`, neurons of the chip", "Adam, 100 epochs | 3 | 300, of 100 ms"),
            ("`zeros_and_norms.py`", "SGD with momentum, 30 epochs | 3 | 500, of 80 ms"),
            ("`search_strengths.py`", "Adam, 30 epochs | 5 | 1,000, of 50 ms"),
        )
    ),
    (
        HARDWARE,
        "the accuracy is {:.1f} % without rounding; with four bits {:.1f} % if trained and {:.1f} "
        "% if rounded, and with three bits {:.1f} and {:.1f} %.",
        lambda: [few_bits(4)[i] for i in (0, 3, 1)] + [few_bits(3)[i] for i in (3, 1)],
    ),
]


def quotes_on(page):
    """Return the quotes of a page, with the numbers that were printed."""
    return [sentence.format(*measured()) for at, sentence, measured in QUOTES if at == page]
