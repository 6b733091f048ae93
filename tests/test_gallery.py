"""The gallery: programs as people write them mean the same traced, and cost what they say."""

import gallery
import pytest

# Eager for now: programs that run eagerly, wholly or too often, and should not.
EAGER_FOR_NOW = {
    "a_function_of_ones_own",
    "straight_through_rounding",
    "hooks_on_tensors",
    "hooks_on_modules",
    "a_position_out_of_range_raises",
    "numpy_inside",
    "lbfgs_with_a_closure",
    "metropolis",
    "simulated_annealing_with_a_float_temperature",
    "particles_in_a_box_with_numpy",
    "q_learning_with_a_replay_buffer",
    "replay_buffer_of_tensors_inside",
    "policy_gradient_with_saved_log_probabilities",
    "epsilon_greedy_with_pythons_generator",
    "epsilon_greedy_with_numpys_generator",
    "upper_confidence_bandit",
    "evolution_strategy_keeps_the_better",
    "top_k_sampling",
    "speculative_decoding",
    "loss_without_padding",
    "experts_by_tokens",
    "confusion_matrix_and_metrics",
    "step_counter",
    "hidden_state_carried_from_call_to_call",
    "running_total_of_losses",
    "log_of_items",
    "running_mean_and_variance",
    "memo_by_shape",
    "mask_by_lru_cache",
    "dataclass_argument_and_result",
    "average_meters_in_an_ordered_dict",
    "key_value_cache",
    "cache_with_a_position",
    "closure_with_nonlocal_floats",
    "a_global_counter",
    "class_attribute_counts_calls",
    "numbers_are_stored",
    "ints_that_change",
    "floats_that_change",
    "context_managers_of_ones_own",
    "weights_assigned_inside",
    "data_assigned_inside",
    "a_flag_set_when_something_happened",
    "step_that_skips_gradients_that_are_not_finite",
    "dynamic_loss_scaling",
    "early_stopping",
    "epoch_loop_with_metrics_inside_one_traced_function",
    "gradient_accumulation_by_a_counter",
    "scheduler_stepped_inside",
    "warm_up_of_the_learning_rate_by_hand",
    "exponential_moving_average_as_new_tensors",
    "gan_that_trains_the_generator_every_third_step",
    "lookahead_every_four_steps",
    "projected_gradient_attack_with_an_early_exit",
    "layers_thawed_as_training_goes_on",
    "best_weights_are_kept",
    "mixup_with_a_number_from_python",
    "teacher_and_student",
    "contrastive_learning_with_a_queue",
    "curriculum_by_an_int_that_grows",
    "clipping_by_the_library",
    "variational_autoencoder",
    "abort_by_an_exception_when_loss_explodes",
}

# Programs that are not the same traced.
WRONG_FOR_NOW = {
    "a_tensor_is_printed": "replays print the numbers of the recorded run",
    "window_of_the_last_losses": "a float of the run is left in a deque",
    "exceptions_leave_effects_behind": "a float of the run is left in an exception",
    "gan": "an object that is returned and kept is another one in the result",
}

MARKS = {name: [pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)] for name, reason in WRONG_FOR_NOW.items()}


def test_there_are_enough():
    assert len(gallery.PROGRAMS) >= 80
    assert {*EAGER_FOR_NOW, *WRONG_FOR_NOW} <= {*gallery.PROGRAMS}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in gallery.PROGRAMS])
def test_program(name):
    program, cost = gallery.PROGRAMS[name], gallery.cost(name)
    if name in EAGER_FOR_NOW:
        assert not cost.within(program), f"{name} keeps to what it may cost: take its mark away"
    else:
        assert cost.within(program), f"{name} ran {cost.runs} times, with {cost.programs} programs:\n{cost.explained}"
