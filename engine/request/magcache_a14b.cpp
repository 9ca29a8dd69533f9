#include "engine/request/magcache_a14b.h"

#include <array>
#include <cmath>

#include "engine/request/schedule.h"

namespace wan {

namespace {

constexpr size_t kSteps = 40;

// Steps 2 to 40. Those of the step in which the other expert begins compare two networks and are left out.
constexpr std::array<double, kSteps - 1> kTextToVideoConditional = {
    1.00124, 0.99822, 0.99696, 0.99703, 0.99660, 0.99602, 0.99578, 0.99484, 0.99633, 0.99659,
    0.99534, 0.99584, 0.99681, 0.99563, 0.99440, 0.99594, 0.99466, 0.99453, 0.99389, 0.99391,
    0.99354, 0.99283, 0.99268, 0.99057, 0.99125, 0.65523, 0.98808, 0.98765, 0.98510, 0.98311,
    0.98050, 0.97776, 0.97278, 0.96731, 0.95857, 0.94385, 0.92118, 0.88108, 0.80263};

constexpr std::array<double, kSteps - 1> kTextToVideoUnconditional = {
    1.00155, 0.99851, 0.99687, 0.99732, 0.99679, 0.99658, 0.99664, 0.99490, 0.99600, 0.99683,
    0.99549, 0.99577, 0.99694, 0.99554, 0.99473, 0.99640, 0.99461, 0.99481, 0.99365, 0.99406,
    0.99361, 0.99278, 0.99263, 0.99091, 0.99126, 0.65252, 0.98852, 0.98736, 0.98535, 0.98339,
    0.98060, 0.97771, 0.97286, 0.96728, 0.95855, 0.94385, 0.92100, 0.88076, 0.80181};

constexpr std::array<double, kSteps - 1> kImageToVideoConditional = {
    0.99191, 0.99356, 0.99326, 0.99251, 0.99393, 0.99430, 0.99276, 0.99389, 0.99274, 0.99316,
    0.99379, 0.99268, 0.99222, 0.99175, 0.91076, 0.98931, 0.99087, 0.98852, 0.98895, 0.98806,
    0.98710, 0.98613, 0.98434, 0.98300, 0.98185, 0.98131, 0.97830, 0.97619, 0.97264, 0.97088,
    0.96568, 0.96045, 0.95322, 0.94579, 0.93297, 0.91699, 0.89174, 0.85410, 0.79823};

constexpr std::array<double, kSteps - 1> kImageToVideoUnconditional = {
    0.99144, 0.99337, 0.99285, 0.99264, 0.99366, 0.99430, 0.99288, 0.99393, 0.99289, 0.99310,
    0.99377, 0.99271, 0.99227, 0.99160, 0.91046, 0.98933, 0.99088, 0.98855, 0.98896, 0.98808,
    0.98711, 0.98618, 0.98435, 0.98307, 0.98187, 0.98131, 0.97835, 0.97620, 0.97270, 0.97098,
    0.96580, 0.96055, 0.95335, 0.94594, 0.93311, 0.91720, 0.89202, 0.85446, 0.79902};

constexpr const char *kOfText = "published for Wan 2.2 T2V A14B (MagCache)",
                     *kOfImage = "published for Wan 2.2 I2V A14B (MagCache)";

using Ratios = std::array<double, kSteps - 1>;

/// The noise levels are those of the official settings, which the ratios were measured in.
Calibration published(Task task, double shift, double boundary, const Ratios& conditional,
                      const Ratios& unconditional) {
  Calibration made;
  made.source = task == Task::I2V ? kOfImage : kOfText;
  made.task = task;
  made.solver = "unipc";
  made.shift = shift;
  made.boundary = boundary;
  const std::vector<double> sigmas = flow_sigmas(SolverKind::UniPc, kSteps, shift);
  for (size_t i = 0; i < kSteps; ++i) {
    CalibratedStep step{.sigma = sigmas[i], .high = std::trunc(sigmas[i] * 1000) >= boundary * 1000, .changes = {}};
    if (i > 0 && step.high == made.steps.back().high) {
      step.changes[kConditional] = ResidualChange{.ratio = conditional[i - 1]};
      step.changes[kUnconditional] = ResidualChange{.ratio = unconditional[i - 1]};
    }
    made.steps.push_back(step);
  }
  return made;
}

}  // namespace

const Calibration* magcache_a14b(Task task) {
  static const Calibration text = published(Task::T2V, 12, 0.875, kTextToVideoConditional, kTextToVideoUnconditional);
  static const Calibration image = published(Task::I2V, 5, 0.9, kImageToVideoConditional, kImageToVideoUnconditional);
  switch (task) {
    case Task::T2V:
    case Task::V2V:
      return &text;
    case Task::I2V:
      return &image;
    case Task::S2V:
      break;
  }
  return nullptr;
}

}  // namespace wan
