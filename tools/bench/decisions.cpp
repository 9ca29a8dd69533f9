// The rules of `wan-bench adopt`. Each limit was set before a card was seen, so that no figure chooses its own.
#include <algorithm>
#include <cstdio>
#include <optional>

#include "tools/bench/adopt.h"

namespace wan::bench {
namespace {

using Verdict = Decision::Verdict;

constexpr double kWgmma8Rate = 760e12;       // 8-bit queries and keys with wgmma, above cuDNN's 16 bits
constexpr double kCudnnRate = 550e12;        // cuDNN's 16-bit attention, below which our own stands for choice
constexpr double kConvolutionRate = 350e12;  // fp16 at 96 channels, below which an own convolution is worth writing
constexpr double kFastGain = 1.3;            // 8-bit values, and 8-bit products, over the library's 16 bits
constexpr double kWorthIt = 1.05;            // what a switch must gain

std::string text(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

/// Rows at 720p of all reports.
struct Figures {
  std::vector<const Row*> rows;

  explicit Figures(const Findings& findings) {
    for (const auto& [file, report] : findings.reports)
      for (const Row& row : report.rows) rows.push_back(&row);
  }
  const Row* find(const std::string& name, const std::string& shape, const std::string& backend) const {
    for (const Row* row : rows)
      if (row->name == name && row->shape.starts_with(shape) && row->backend == backend) return row;
    return nullptr;
  }
  const Row* attention(const std::string& backend) const { return find("self-attention", "720p", backend); }
};

Decision missing(const std::string& subject, const std::string& what) {
  return {subject, Verdict::NotMeasured, "no figure of " + what};
}

std::string rate(const Row& row) {
  return row.backend + text(" %.0f TFLOP/s", row.rate() / 1e12);
}

/// "a is 1.23 times as fast as b".
std::string ratio(const Row& a, const Row& b) {
  return a.name + ", " + a.backend + " is " + text("%.2f", b.median() / a.median()) + " times as fast as " + b.name +
         ", " + b.backend;
}

Decision wgmma_of_8_bits(const Figures& figures, bool passed) {
  const std::string subject = "wgmma for 8-bit products (Options::wgmma)";
  const Row* row = figures.attention("8+16 wgmma");
  if (!row) return missing(subject, "self-attention at 720p, 8+16 wgmma");
  const std::string why = rate(*row) + text(", at least %.0f wanted; its tests ", kWgmma8Rate / 1e12) +
                          (passed ? "passed" : "did not pass");
  return {subject, passed && row->rate() >= kWgmma8Rate ? Verdict::Change : Verdict::Keep, why};
}

Decision wgmma_of_16_bits(const Figures& figures, bool passed) {
  const std::string subject = "wgmma among the back ends of 16-bit attention";
  const Row *library = figures.attention("cudnn"), *own = figures.attention("wgmma");
  if (!library || !own) return missing(subject, "self-attention at 720p, cudnn and wgmma");
  const bool better = library->rate() < kCudnnRate && own->median() < library->median();
  return {subject, passed && better ? Verdict::Change : Verdict::Keep,
          rate(*library) + text(", below %.0f wanted; ", kCudnnRate / 1e12) + rate(*own) + "; its tests " +
              (passed ? "passed" : "did not pass")};
}

Decision values_of_8_bits(const Figures& figures) {
  const std::string subject = "8-bit values in precision fast";
  const Row* library = figures.attention("cudnn");
  const Row* own = nullptr;
  for (const char* name : {"8+8 wgmma", "8+8 mma", "8+8 mma half sums"})
    if (const Row* row = figures.attention(name); row && (!own || row->median() < own->median())) own = row;
  if (!library || !own) return missing(subject, "self-attention at 720p, cudnn and 8+8");
  const bool worth = library->median() / own->median() >= kFastGain;
  return {subject, worth ? Verdict::Keep : Verdict::Change,
          ratio(*own, *library) + text("; less than %.1f: 8+16 alone", kFastGain)};
}

Decision half_sums(const Figures& figures) {
  const std::string subject = "sums of 8-bit values in float16 (Sums::Half)";
  const Row *floats = figures.attention("8+8 mma"), *halves = figures.attention("8+8 mma half sums");
  if (!floats || !halves) return missing(subject, "self-attention at 720p, 8+8 mma and 8+8 mma half sums");
  return {subject, floats->median() / halves->median() >= kWorthIt ? Verdict::Change : Verdict::Keep,
          ratio(*halves, *floats) + text("; from %.2f on ", kWorthIt) +
              "precision fast takes them itself on sm_89, sm_120 and newer, elsewhere this card's default"};
}

Decision products_of_8_bits(const Figures& figures) {
  const std::string subject = "own 8-bit linears";
  const Row *worst = nullptr, *library = nullptr;
  for (const Row* own : figures.rows) {
    if (own->backend != "kernels::linear_int8" || !own->shape.starts_with("720p")) continue;
    const Row* other = figures.find(own->name, own->shape, "at::linear");
    if (!other || (worst && library->median() / worst->median() <= other->median() / own->median())) continue;
    worst = own;
    library = other;
  }
  if (!worst) return missing(subject, "linears at 720p, kernels::linear_int8 and at::linear");
  const bool worth = library->median() / worst->median() >= kFastGain;
  return {subject, worth ? Verdict::Keep : Verdict::Change,
          "least of all: " + ratio(*worst, *library) + text("; less than %.1f: the library's fp8", kFastGain)};
}

Decision convolution(const Figures& figures) {
  const std::string subject = "the library's convolution at 96 channels";
  const Row* row = figures.find("VAE convolution", "96 channels", "channels last fp16");
  if (!row) return missing(subject, "VAE convolution, channels last fp16");
  return {subject, row->rate() < kConvolutionRate ? Verdict::Change : Verdict::Keep,
          rate(*row) + text("; below %.0f an own one is worth writing", kConvolutionRate / 1e12)};
}

Decision tuned_convolution(const Figures& figures) {
  const std::string subject = "cuDNN measures its plans (benchmark mode) in the VAE";
  const Row* guessed = figures.find("VAE convolution", "96 channels", "channels last fp16");
  const Row* tuned = figures.find("VAE convolution", "96 channels", "channels last fp16, tuned");
  if (!guessed || !tuned) return missing(subject, "VAE convolution, channels last fp16 and the same tuned");
  return {subject, guessed->median() / tuned->median() >= kWorthIt ? Verdict::Change : Verdict::Keep,
          ratio(*tuned, *guessed) + text("; from %.2f on it is switched on", kWorthIt)};
}

/// Fastest forward whose name begins so.
const Row* fastest_forward(const Figures& figures, const std::string& name) {
  const Row* found = nullptr;
  for (const Row* row : figures.rows)
    if (row->ours && row->name.starts_with(name) && row->shape.starts_with("720p") &&
        (!found || row->median() < found->median()))
      found = row;
  return found;
}

Decision lower_precision(const Figures& figures, const std::string& name) {
  const std::string subject = "the warning that precision " + name + " is slower than exact";
  const Row *exact = figures.find("forward", "720p", "wan-infer"),
            *plain = figures.find("forward, " + name, "720p", "wan-infer"),
            *best = fastest_forward(figures, "forward, " + name);
  if (!exact || !plain || !best) return missing(subject, "forwards at 720p, exact and " + name);
  const bool slower = plain->median() > exact->median();
  return {subject, slower ? Verdict::Keep : Verdict::Change,
          ratio(*plain, *exact) + (best == plain ? "" : "; " + ratio(*best, *exact))};
}

}  // namespace

std::vector<Decision> decide(const Findings& findings) {
  const Figures figures(findings);
  const auto state = findings.states.find("wgmma-tests");
  const bool passed = state != findings.states.end() && state->second == "done";
  return {wgmma_of_8_bits(figures, passed), wgmma_of_16_bits(figures, passed),
          values_of_8_bits(figures),        half_sums(figures),
          products_of_8_bits(figures),      convolution(figures),
          tuned_convolution(figures),       lower_precision(figures, "balanced"),
          lower_precision(figures, "fast")};
}

std::string to_text(const std::vector<Decision>& decisions) {
  std::string out;
  for (const Decision& decision : decisions) {
    const char* verdict = decision.verdict == Verdict::Change ? "CHANGE       "
                          : decision.verdict == Verdict::Keep ? "keep         "
                                                              : "not measured ";
    out += verdict + decision.subject + ": " + decision.why + "\n";
  }
  return out;
}

}  // namespace wan::bench
