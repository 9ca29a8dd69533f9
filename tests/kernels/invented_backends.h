// Attention back ends that the tests of the choice invent, and a clock that they set: the choice without a GPU.
#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "kernels/attention/attention.h"
#include "kernels/attention/selector.h"
#include "tests/support.h"

namespace wan::kernels {

class InventedBackends : public testing::Test {
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
              {
                const std::lock_guard lock(mutex);
                ++calls[name];
                last = name;
              }
              return reference::attention(q, k, v, scale, bias) * factor;
            }};
  }
  AttentionBackend broken(const std::string& name) {
    return failing(name, [] { TORCH_CHECK(false, "no such engine"); });
  }
  /// One that runs out of memory as long as `full` says so, and is right otherwise.
  AttentionBackend hungry(const std::string& name, double time, const bool& full) {
    AttentionBackend whole = backend(name, time);
    whole.run = [run = whole.run, &full](const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                         const Tensor& bias) {
      if (full) C10_THROW_ERROR(OutOfMemoryError, "tried to allocate 40 GiB");
      return run(q, k, v, scale, bias);
    };
    return whole;
  }
  AttentionSelector::Timer timer() {
    return [this](const std::function<void()>& run) {
      run();
      ++timed;
      return times.at(last);
    };
  }
  /// Memory that lives as long as the test: another process on the same machine, and its card.
  AttentionMemory memory() {
    return {[this](const std::string& card, const std::string& wanted) {
              const auto found = kept.find({card, wanted});
              return found == kept.end() ? AttentionTimes() : found->second;
            },
            [this](const std::string& card, const std::string& wanted, const AttentionTimes& measured) {
              kept[{card, wanted}] = measured;
            }};
  }

  Tensor q, k, v;
  std::map<std::string, double> times;
  std::map<std::string, int> calls;
  std::string last;
  int timed = 0;
  std::map<std::pair<std::string, std::string>, AttentionTimes> kept;

 private:
  static AttentionBackend failing(const std::string& name, const std::function<void()>& fail) {
    return {name, [](const AttentionCase&) { return true; },
            [fail](const Tensor& q, const Tensor&, const Tensor&, double, const Tensor&) {
              fail();
              return q;
            }};
  }
  std::mutex mutex;
};

}  // namespace wan::kernels
