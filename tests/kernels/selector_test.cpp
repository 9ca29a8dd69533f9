// The choice of an attention back end.
#include "kernels/attention/selector.h"

#include "tests/kernels/invented_backends.h"

namespace wan::kernels {
namespace {

class Selector : public InventedBackends {
 protected:
  void expect_right(AttentionSelector& selector, const Tensor& bias = {}) {
    EXPECT_TRUE(is_close(selector(q, k, v, 0.3, bias), reference::attention(q, k, v, 0.3, bias), 1e-5));
  }
  std::string chosen(AttentionSelector& selector) {
    expect_right(selector);
    return selector.choices().begin()->second;
  }
  /// A back end whose runs end in this error.
  template <typename Error>
  AttentionBackend ending(const std::string& name, const Error& error) {
    AttentionBackend ends = backend(name, 1);
    ends.run = [error](const Tensor&, const Tensor&, const Tensor&, double, const Tensor&) -> Tensor { throw error; };
    return ends;
  }
  /// An error of CUDA with this number.
  static c10::AcceleratorError cuda_error(int32_t code) {
    return {{__func__, __FILE__, uint32_t(__LINE__)}, code, "CUDA error"};
  }
  /// What a new process chooses, which finds what earlier ones kept. `timed` is counted anew.
  std::string chosen_anew(const std::string& card, std::vector<AttentionBackend> backends,
                          const std::vector<std::string>& off = {}) {
    timed = 0;
    AttentionSelector selector(std::move(backends), card, timer(), off);
    selector.set_memory(memory());
    return chosen(selector);
  }
};

TEST_F(Selector, TheFastestThatIsRightIsUsed) {
  AttentionSelector selector({backend("slow", 3), backend("wrong", 1, 1.01), backend("fast", 2), broken("broken")},
                             "card", timer());
  EXPECT_EQ(chosen(selector), "fast");
  ASSERT_EQ(selector.report().size(), 1u);
  const std::string line = selector.report()[0];
  for (const char* part :
       {"b1 h2 q64 k64 d8 Float", "fast (2 ms", "slow 3 ms", "wrong out: error 1.0e-02", "broken out: no such engine"})
    EXPECT_NE(line.find(part), std::string::npos) << line;
  // A second call measures nothing.
  const int before = timed, slow = calls["slow"];
  expect_right(selector);
  EXPECT_EQ(timed, before);
  EXPECT_EQ(calls["slow"], slow);
}

TEST_F(Selector, CasesAreApartWhereTheirShapesAre) {
  AttentionSelector selector({backend("only", 1)}, "card", timer());
  for (int64_t keys : {50, 64, 65})
    selector(q, k.repeat({1, 2, 1, 1}).narrow(1, 0, keys), k.repeat({1, 2, 1, 1}).narrow(1, 0, keys), 0.3);
  selector(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), 0.3);
  std::vector<std::string> names;
  for (const auto& [name, backend] : selector.choices()) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"b1 h2 q64 k128 d8 Float", "b1 h2 q64 k64 d8 Double", "b1 h2 q64 k64 d8 Float"}));
}

TEST_F(Selector, TheReferenceRunsWhereAllFailOrNoneTakesTheCase) {
  AttentionSelector selector({backend("wrong", 1, 1.01), broken("broken")}, "card", timer());
  EXPECT_EQ(chosen(selector), "reference");
  AttentionSelector no_bias({backend("fast", 1)}, "card", timer());
  expect_right(no_bias, at::randn({50}));
  EXPECT_EQ(no_bias.choices().begin()->second, "reference");
  EXPECT_EQ(no_bias.choices().begin()->first, "b1 h2 q64 k64 d8 Float key bias");
}

TEST_F(Selector, CanBePinnedAlsoToWhatIsOff) {
  AttentionSelector selector({backend("slow", 3), backend("fast", 2), backend("wrong", 1, 1.01)}, "card", timer(),
                             {"fast"});
  EXPECT_EQ(chosen(selector), "slow");
  const int before = timed;
  selector.pin("fast");
  EXPECT_EQ(chosen(selector), "fast");
  selector.pin("reference");
  EXPECT_EQ(chosen(selector), "reference");
  EXPECT_EQ(timed, before);
  selector.pin("wrong");  // a pin does not overrule the check
  EXPECT_EQ(chosen(selector), "slow");
  selector.pin("");
  EXPECT_EQ(chosen(selector), "slow");
  EXPECT_THROW(selector.pin("unknown"), c10::Error);
  EXPECT_THROW(AttentionSelector({backend("fast", 2)}, "card", timer(), {"unknown"}), c10::Error);
}

TEST_F(Selector, AChoiceOutlivesTheProcessOnTheSameCard) {
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2), broken("broken")}), "b");
  EXPECT_EQ(timed, 2);
  EXPECT_EQ(chosen_anew("card", {backend("a", 1), backend("b", 2), broken("broken")}), "b");
  EXPECT_EQ(timed, 0);
  EXPECT_EQ(chosen_anew("other card", {backend("a", 1), backend("b", 2)}), "a");
  EXPECT_EQ(timed, 2);
  // What was fast but is wrong now is not used; a new back end is measured.
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2, 1.01), broken("broken")}), "a");
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("c", 4)}), "a");
  EXPECT_EQ(timed, 2);
}

TEST_F(Selector, WhatWasOffWhileMeasuringIsMeasuredLater) {
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2)}, {"b"}), "a");
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2)}, {"b"}), "a");
  EXPECT_EQ(timed, 0);
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2)}), "b");
  EXPECT_EQ(timed, 2);
}

TEST_F(Selector, AFailureIsRememberedUnlessMemoryRanOut) {
  bool full = true;
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), hungry("b", 2, full), broken("broken")}), "a");
  const AttentionTimes& times = kept.begin()->second;
  EXPECT_EQ(times.count("broken"), 1u);
  EXPECT_FALSE(times.at("broken"));
  EXPECT_EQ(times.count("b"), 0u);
  full = false;
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), hungry("b", 2, full), broken("broken")}), "b");
  EXPECT_EQ(timed, 2);
  // Known, and its memory is short again: the others are asked, and it is not forgotten for good.
  full = true;
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), hungry("b", 2, full), broken("broken")}), "a");
  full = false;
  EXPECT_EQ(chosen_anew("card", {backend("a", 3), hungry("b", 2, full), broken("broken")}), "b");
}

TEST_F(Selector, WantOfMemoryIsNotRememberedWhoeverSaysIt) {
  const c10::Error library({__func__, __FILE__, uint32_t(__LINE__)},
                           "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`");
  for (const AttentionBackend& full : {ending("b", cuda_error(2)), ending("b", library)}) {
    kept.clear();
    EXPECT_EQ(chosen_anew("card", {backend("a", 3), full}), "a");
    EXPECT_EQ(kept.begin()->second.count("b"), 0u);
    EXPECT_EQ(chosen_anew("card", {backend("a", 3), backend("b", 2)}), "b") << "it has memory in the next process";
  }
}

TEST_F(Selector, ALostDeviceIsNoFailureOfABackEnd) {
  for (int32_t code : {999, 700, 719}) {  // unknown error, illegal address, launch failure
    calls.clear();
    AttentionSelector selector({backend("a", 3), ending("b", cuda_error(code)), backend("c", 1)}, "card", timer());
    selector.set_memory(memory());
    EXPECT_THROW(selector(q, k, v, 0.3), c10::AcceleratorError) << code;
    EXPECT_EQ(calls["c"], 0) << "nothing more is asked of it";
    EXPECT_TRUE(selector.choices().empty());
    EXPECT_TRUE(kept.empty()) << "b would be out for ever";
  }
}

TEST_F(Selector, WhereOnlyMemoryWasShortNothingIsChosen) {
  bool full = true;
  AttentionSelector selector({hungry("b", 2, full), broken("broken")}, "card", timer());
  selector.set_memory(memory());
  EXPECT_THROW(selector(q, k, v, 0.3), c10::OutOfMemoryError);
  EXPECT_TRUE(selector.choices().empty());
  EXPECT_TRUE(kept.empty());
  full = false;  // room was made
  EXPECT_EQ(chosen(selector), "b");
}

TEST_F(Selector, ALessExactOneHasItsOwnBoundAndMustWinByMore) {
  const auto less_exact = [&](double time, double factor) {
    AttentionBackend rough = backend("rough", time, factor);
    rough.bound = 2e-2;
    rough.handicap = 1.05;
    return rough;
  };
  const auto choice = [&](double time, double factor) {
    return chosen_anew("card of " + std::to_string(time), {backend("fine", 100), less_exact(time, factor)});
  };
  EXPECT_EQ(choice(96, 1), "fine") << "a gain within noise";
  EXPECT_EQ(choice(96, 1), "fine");
  EXPECT_EQ(timed, 0) << "remembered by the same rule";
  EXPECT_EQ(choice(94, 1), "rough");
  EXPECT_EQ(choice(94, 1), "rough");
  AttentionSelector rough({backend("fine", 100), less_exact(90, 1.01)}, "card", timer());
  EXPECT_EQ(rough.chosen(q, k, v, 0.3), "rough") << "beyond the others' bound";
  EXPECT_NE(rough.report()[0].find("rough (90 ms; fine 100 ms)"), std::string::npos) << rough.report()[0];
  AttentionSelector wrong({backend("fine", 100), less_exact(90, 1.03)}, "card", timer());
  EXPECT_EQ(wrong.chosen(q, k, v, 0.3), "fine");
}

TEST_F(Selector, AChoiceCanBeAskedForWithoutItsResult) {
  AttentionSelector selector({backend("slow", 3), backend("fast", 2)}, "card", timer());
  EXPECT_EQ(selector.chosen(q, k, v, 0.3), "fast");
  const int measured = calls["fast"];
  EXPECT_EQ(selector.chosen(q, k, v, 0.3), "fast");
  EXPECT_EQ(calls["fast"], measured) << "nothing is computed again";
  EXPECT_EQ(chosen(selector), "fast");
  AttentionSelector none({broken("broken")}, "card", timer());
  EXPECT_EQ(none.chosen(q, k, v, 0.3), "reference");
}

TEST_F(Selector, ABackEndThatFailsOnTheClockIsOut) {
  const auto clock = [this](const std::function<void()>& run) {
    run();
    TORCH_CHECK(last != "shy", "not while someone looks");
    return times.at(last);
  };
  AttentionSelector selector({backend("shy", 1), backend("slow", 3)}, "card", clock);
  EXPECT_EQ(chosen(selector), "slow");
  EXPECT_NE(selector.report()[0].find("shy out: not while someone looks"), std::string::npos);
}

TEST_F(Selector, TheCheckSeesOneWrongHeadAndOneWrongRow) {
  Tensor right = reference::attention(q, k, v, 0.3);
  EXPECT_LT(sampled_error(right, q, k, v, 0.3, {}), 1e-6);
  Tensor head = right.clone(), row = right.clone(), poison = right.clone();
  head.select(2, 1) *= 1.1;
  row.select(1, 39) *= 1.1;
  poison[0][39][1][7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_GT(sampled_error(head, q, k, v, 0.3, {}), 0.05);
  EXPECT_GT(sampled_error(row, q, k, v, 0.3, {}), 0.01);
  EXPECT_TRUE(std::isinf(sampled_error(poison, q, k, v, 0.3, {})));
  Tensor bias = at::randn({2, 40, 50});
  EXPECT_LT(sampled_error(reference::attention(q, k, v, 0.3, bias), q, k, v, 0.3, bias), 1e-6);
}

}  // namespace
}  // namespace wan::kernels
