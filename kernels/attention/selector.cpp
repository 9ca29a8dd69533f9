#include "kernels/attention/selector.h"

#include <ATen/ATen.h>
#include <c10/util/hash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/op/device_failure.h"
#include "kernels/op/first_use.h"

namespace wan::kernels {
namespace {

/// Elements of keys that the check widens at one time.
constexpr int64_t kWidened = int64_t(1) << 25;
const std::string kReference = "reference";

int64_t rounded_length(int64_t length) {
  constexpr int64_t kExact = 1024;
  return length > kExact ? length : int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(length, 1))));
}

std::string text(const char* format, double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string first_line(const std::string& message) {
  return message.substr(0, std::min<size_t>(message.find('\n'), 120));
}

}  // namespace

std::string AttentionCase::name() const {
  static const char* const kBias[] = {"", " key bias", " full bias"};
  return "b" + std::to_string(batch) + " h" + std::to_string(heads) + " q" + std::to_string(queries) + " k" +
         std::to_string(keys) + " d" + std::to_string(width) + " " + at::toString(dtype) + kBias[int(bias)];
}

AttentionCase attention_case(const Tensor& q, const Tensor& k, const Tensor& bias) {
  using Bias = AttentionCase::Bias;
  const Bias kind = !bias.defined() ? Bias::None : bias.dim() == 1 ? Bias::Key : Bias::Full;
  return {q.size(0), q.size(2), rounded_length(q.size(1)), rounded_length(k.size(1)), q.size(3), q.scalar_type(), kind};
}

double sampled_error(const Tensor& output, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                     const Tensor& bias) {
  const int64_t heads = q.size(2);
  const Tensor rows = spread_rows(q.size(1), q.device());
  const int64_t group = std::clamp<int64_t>(kWidened / std::max<int64_t>(k.numel() / heads, 1), 1, heads);
  Tensor error = at::zeros({}, q.options().dtype(at::kDouble)), size = at::zeros_like(error);
  for (int64_t head = 0; head < heads; head += group) {
    const int64_t length = std::min(group, heads - head);
    auto part = [&](const Tensor& x) { return x.narrow(2, head, length); };
    Tensor closed = bias;
    if (bias.defined() && bias.dim() == 3) closed = bias.narrow(0, head, length).index_select(1, rows);
    Tensor want = reference::attention(part(q).index_select(1, rows).to(at::kFloat), part(k).to(at::kFloat),
                                       part(v).to(at::kFloat), scale, closed);
    Tensor got = part(output).index_select(1, rows).to(at::kFloat);
    error += (got - want).square().sum(at::kDouble);
    size += want.square().sum(at::kDouble);
  }
  const double squared = error.item<double>() / std::max(size.item<double>(), 1e-60);
  return squared >= 0 ? std::sqrt(squared) : std::numeric_limits<double>::infinity();
}

/// What a choice finds out: how the back ends did in this case.
struct AttentionSelector::Trials {
  const AttentionCase& wanted;
  const Inputs& in;
  AttentionTimes times;   // without those that ran out of memory: they may pass another time
  std::string others;     // why back ends are out, each behind "; "
  bool was_full = false;  // one of them ran out of memory

  /// Whether the back end agrees with the reference.
  bool passes(const AttentionBackend& backend) {
    return attempt(backend, [&] {
      const Tensor out = backend.run(in.q, in.k, in.v, in.scale, in.bias);
      const double error = sampled_error(out, in.q, in.k, in.v, in.scale, in.bias);
      if (error <= backend.bound.value_or(bound(wanted.dtype))) return true;
      note(backend, "error " + text("%.1e", error));
      return false;
    });
  }

  void time(const AttentionBackend& backend, const Timer& timer) {
    attempt(backend, [&] {
      times[backend.name] = timer([&] { backend.run(in.q, in.k, in.v, in.scale, in.bias); });
      return true;
    });
  }

 private:
  template <typename Work>
  bool attempt(const AttentionBackend& backend, Work work) {
    try {
      return work();
    } catch (const c10::Error& failure) {
      switch (device_failure(failure)) {
        case DeviceFailure::Lost:
          throw;  // it says nothing of the back end, and nothing is chosen
        case DeviceFailure::Full:
          was_full = true;
          others += "; " + backend.name + " out: no memory now";
          break;
        case DeviceFailure::None:
          note(backend, first_line(failure.what_without_backtrace()));
      }
    }
    return false;
  }

  void note(const AttentionBackend& backend, const std::string& reason) {
    times[backend.name] = std::nullopt;
    others += "; " + backend.name + " out: " + reason;
  }
};

size_t AttentionSelector::Hash::operator()(const AttentionCase& c) const {
  return c10::get_hash(c.batch, c.heads, c.queries, c.keys, c.width, int(c.dtype), int(c.bias));
}

AttentionSelector::AttentionSelector(std::vector<AttentionBackend> backends, std::string card, Timer timer,
                                     const std::vector<std::string>& off)
    : backends_(std::move(backends)), card_(std::move(card)), timer_(std::move(timer)) {
  for (const std::string& name : off) require(name);
  off_ = {off.begin(), off.end()};
}

double AttentionSelector::bound(at::ScalarType dtype) {
  // Rounding the result alone costs 1.66e-3 and 2.1e-4; the rest is for the rounding of the weights.
  if (dtype == at::kBFloat16) return 4e-3;
  if (dtype == at::kHalf) return 1e-3;
  return 1e-4;
}

const AttentionBackend* AttentionSelector::find(const std::string& name) const {
  for (const AttentionBackend& backend : backends_)
    if (backend.name == name) return &backend;
  return nullptr;
}

void AttentionSelector::require(const std::string& name) const {
  std::string known = kReference;
  for (const AttentionBackend& backend : backends_) known += ", " + backend.name;
  TORCH_CHECK(find(name) || name == kReference, "[attention] a back end must be one of ", known, ", got ", name);
}

void AttentionSelector::set_memory(AttentionMemory memory) {
  std::lock_guard lock(mutex_);
  memory_ = std::move(memory);
}

void AttentionSelector::pin(const std::string& name) {
  if (!name.empty()) require(name);
  std::lock_guard lock(mutex_);
  pinned_ = name;
  choices_.clear();
}

void AttentionSelector::pin(const std::map<std::string, std::string>& choices) {
  require(choices);
  std::lock_guard lock(mutex_);
  pinned_cases_ = choices;
  choices_.clear();
}

void AttentionSelector::require(const std::map<std::string, std::string>& choices) const {
  for (const auto& [wanted, name] : choices) require(name);
}

const AttentionBackend* AttentionSelector::backend_for(const Inputs& in) {
  const AttentionCase wanted = attention_case(in.q, in.k, in.bias);
  std::lock_guard lock(mutex_);
  auto at = choices_.find(wanted);
  if (at == choices_.end()) at = choices_.emplace(wanted, choose(wanted, in)).first;
  return at->second.backend;
}

Tensor AttentionSelector::operator()(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                     const Tensor& bias) {
  const AttentionBackend* backend = backend_for({q, k, v, scale, bias});
  return backend ? backend->run(q, k, v, scale, bias) : reference::attention(q, k, v, scale, bias);
}

std::string AttentionSelector::chosen(const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                                      const Tensor& bias) {
  const AttentionBackend* backend = backend_for({q, k, v, scale, bias});
  return backend ? backend->name : kReference;
}

AttentionSelector::Choice AttentionSelector::choose(const AttentionCase& wanted, const Inputs& in) const {
  Trials trials{wanted, in, {}, {}, false};
  const auto named = pinned_cases_.find(wanted.name());
  const std::string& pin = named == pinned_cases_.end() ? pinned_ : named->second;
  if (pin == kReference) return {nullptr, "pinned"};
  const AttentionBackend* pinned = find(pin);
  if (pinned && pinned->takes(wanted) && trials.passes(*pinned)) return {pinned, "pinned" + trials.others};
  if (const AttentionBackend* known = remembered(wanted); known && trials.passes(*known))
    return {known, "measured before" + trials.others};
  std::vector<std::pair<double, const AttentionBackend*>> timed;
  for (const AttentionBackend& backend : backends_) {
    if (off_.contains(backend.name)) {
      trials.others += "; " + backend.name + " off";
    } else if (backend.takes(wanted) && trials.passes(backend)) {
      trials.time(backend, timer_);
      const auto time = trials.times.find(backend.name);
      if (time != trials.times.end() && time->second) timed.emplace_back(*time->second * backend.handicap, &backend);
    }
  }
  // The reference would be kept for this case until the process ends, hundreds of times slower. Whoever called can make
  // room and come again.
  TORCH_CHECK_WITH(OutOfMemoryError, !timed.empty() || !trials.was_full, "[attention] no back end for ", wanted.name(),
                   " has memory", trials.others);
  if (timed.empty()) return {nullptr, "no back end is left" + trials.others};
  std::stable_sort(timed.begin(), timed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (memory_.store) memory_.store(card_, wanted.name(), trials.times);
  const auto measured = [&](const AttentionBackend& of) { return text("%.3g ms", *trials.times.at(of.name)); };
  std::string reason = measured(*timed[0].second);
  for (size_t i = 1; i < timed.size(); ++i) reason += "; " + timed[i].second->name + " " + measured(*timed[i].second);
  return {timed[0].second, reason + trials.others};
}

const AttentionBackend* AttentionSelector::remembered(const AttentionCase& wanted) const {
  const AttentionTimes times = memory_.load ? memory_.load(card_, wanted.name()) : AttentionTimes();
  // The fastest that is still wanted. One without an entry was off or had no memory while measuring: measured anew.
  const AttentionBackend* best = nullptr;
  double fastest = std::numeric_limits<double>::infinity();
  for (const AttentionBackend& backend : backends_) {
    if (off_.contains(backend.name) || !backend.takes(wanted)) continue;
    const auto time = times.find(backend.name);
    if (time == times.end()) return nullptr;
    if (time->second && *time->second * backend.handicap < fastest) {
      fastest = *time->second * backend.handicap;
      best = &backend;
    }
  }
  return best;
}

std::map<std::string, std::string> AttentionSelector::choices() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> names;
  for (const auto& [wanted, choice] : choices_)
    names[wanted.name()] = choice.backend ? choice.backend->name : kReference;
  return names;
}

std::vector<std::string> AttentionSelector::report() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [wanted, choice] : choices_)
    lines.push_back(wanted.name() + ": " + (choice.backend ? choice.backend->name : kReference) + " (" + choice.reason +
                    ")");
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace wan::kernels
