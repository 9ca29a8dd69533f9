// The choice of an attention back end, with invented back ends and an invented clock.
#include "kernels/attention/selector.h"

#include <fstream>

#include "kernels/attention/attention.h"
#include "tests/support.h"

namespace wan::kernels {
namespace {

class Backend : public testing::Test {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    q = at::randn({1, 40, 2, 8});
    k = at::randn({1, 50, 2, 8});
    v = at::randn({1, 50, 2, 8});
  }

  /// A back end that multiplies the right answer by `factor` and takes `time` milliseconds.
  AttentionBackend backend(const std::string& name, double time, double factor = 1) {
    times[name] = time;
    return {name, [](const AttentionCase& c) { return c.bias == AttentionCase::Bias::None; },
            [this, name, factor](const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias) {
              ++calls[name];
              last = name;
              return reference::attention(q, k, v, scale, bias) * factor;
            }};
  }
  AttentionBackend broken(const std::string& name) {
    return {name, [](const AttentionCase&) { return true; },
            [](const Tensor&, const Tensor&, const Tensor&, double, const Tensor&) -> Tensor {
              TORCH_CHECK(false, "no such engine");
            }};
  }
  AttentionSelector::Timer timer() {
    return [this](const std::function<void()>& run) {
      run();
      ++timed;
      return times.at(last);
    };
  }
  void expect_right(AttentionSelector& selector, const Tensor& bias = {}) {
    EXPECT_TRUE(is_close(selector(q, k, v, 0.3, bias), reference::attention(q, k, v, 0.3, bias), 1e-5));
  }
  std::string chosen(AttentionSelector& selector) {
    expect_right(selector);
    return selector.choices().begin()->second;
  }

  Tensor q, k, v;
  std::map<std::string, double> times;
  std::map<std::string, int> calls;
  std::string last;
  int timed = 0;
};

TEST_F(Backend, TheFastestThatIsRightIsUsed) {
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

TEST_F(Backend, TheReferenceRunsWhereAllFailOrNoneTakesTheCase) {
  AttentionSelector selector({backend("wrong", 1, 1.01), broken("broken")}, "card", timer());
  EXPECT_EQ(chosen(selector), "reference");
  AttentionSelector no_bias({backend("fast", 1)}, "card", timer());
  expect_right(no_bias, at::randn({50}));
  EXPECT_EQ(no_bias.choices().begin()->second, "reference");
  EXPECT_EQ(no_bias.choices().begin()->first, "b1 h2 q64 k64 d8 Float key bias");
}

TEST_F(Backend, CanBeTurnedOffAndPinned) {
  AttentionSelector selector({backend("slow", 3), backend("fast", 2), backend("wrong", 1, 1.01)}, "card", timer(),
                             "fast");
  EXPECT_EQ(chosen(selector), "slow");
  selector.set_enabled("fast", true);
  EXPECT_EQ(chosen(selector), "fast");
  const int before = timed;
  selector.pin("slow");
  EXPECT_EQ(chosen(selector), "slow");
  selector.pin("reference");
  EXPECT_EQ(chosen(selector), "reference");
  EXPECT_EQ(timed, before);
  selector.pin("wrong");  // a pin does not overrule the check
  EXPECT_EQ(chosen(selector), "fast");
  selector.pin("");
  EXPECT_EQ(chosen(selector), "fast");
  EXPECT_THROW(selector.pin("unknown"), c10::Error);
  EXPECT_THROW(selector.set_enabled("unknown", false), c10::Error);
}

TEST_F(Backend, AChoiceOutlivesTheProcessOnTheSameCard) {
  TemporaryFolder folder;
  const auto file = folder / "cache/attention.json";
  auto fresh = [&](const std::string& card, std::vector<AttentionBackend> backends) {
    timed = 0;
    AttentionSelector selector(std::move(backends), card, timer());
    selector.set_cache(file);
    return chosen(selector);
  };
  EXPECT_EQ(fresh("card", {backend("a", 3), backend("b", 2), broken("broken")}), "b");
  EXPECT_EQ(timed, 2);
  EXPECT_EQ(fresh("card", {backend("a", 1), backend("b", 2), broken("broken")}), "b");
  EXPECT_EQ(timed, 0);
  EXPECT_EQ(fresh("other card", {backend("a", 1), backend("b", 2)}), "a");
  EXPECT_EQ(timed, 2);
  // What was fast but is wrong now is not used; a new back end is measured.
  EXPECT_EQ(fresh("card", {backend("a", 3), backend("b", 2, 1.01), broken("broken")}), "a");
  EXPECT_EQ(fresh("card", {backend("a", 3), backend("c", 4)}), "a");
  EXPECT_EQ(timed, 2);
  std::ofstream(file) << "{\"schema\": 1, \"card\": [";
  EXPECT_EQ(fresh("card", {backend("a", 3), backend("b", 2)}), "b");
  EXPECT_EQ(timed, 2);
}

TEST_F(Backend, TheCheckSeesOneWrongHeadAndOneWrongRow) {
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
