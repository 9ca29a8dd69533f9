#include "engine/request/presets.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"
#include "engine/request/schedule.h"

namespace wan {
namespace {

using nlohmann::json;

Request request(Task task, json fields) {
  fields["prompt"] = "x";
  fields["seed"] = 1;
  if (task == Task::I2V) fields["image_url"] = "input";
  if (task == Task::V2V) fields["video_url"] = "input";
  return parse(task, fields, {.need_model = false, .check_files = false});
}

/// "1000h1 937.5h1": t, expert and guidance of each step.
std::string steps(const Request& request) {
  std::string text;
  for (const Step& step : make_schedule(request))
    text += (text.empty() ? "" : " ") + number_text(std::round(step.t * 10) / 10) + (step.high ? "h" : "l") +
            number_text(step.guidance);
  return text;
}

std::string subjects(const Request& request) {
  std::string text;
  for (const Note& note : preset_notes(request)) text += (text.empty() ? "" : " ") + note.subject;
  return text;
}

constexpr const char* kFour = "1000h1 937.5h1 833.3l1 625l1";

TEST(Presets, LightningOfFourStepsIsAsPublished) {
  for (Task task : {Task::T2V, Task::I2V}) {
    const Request four = request(task, {{"preset", "lightning4"}});
    EXPECT_EQ(steps(four), kFour);
    EXPECT_EQ(four.solver, "euler");
    EXPECT_EQ(four.shift, 5);
    EXPECT_EQ(make_schedule(four).sigmas(), (std::vector<float>{1, 0.9375f, float(2.5 / 3), 0.625f, 0}));
    EXPECT_FALSE(make_schedule(four).guides());
    EXPECT_EQ(subjects(four), "");
  }
}

// Wan2GP: EulerScheduler.set_timesteps (linspace from 1000 to 1), get_model_switch_steps (985, 800).
TEST(Presets, LightningOfThreePhasesIsAsPublished) {
  const Request eight = request(Task::I2V, {{"preset", "lightning8-3phase"}});
  EXPECT_EQ(steps(eight), "1000h3.5 967.8h1 926h1 869.8h1 789.9l1 667.4l1 456.3l1 5l1");
  EXPECT_EQ(eight.solver, "euler");
  EXPECT_EQ(subjects(eight), "");
}

TEST(Presets, WhatIsGivenBesideThemWinsAndIsTold) {
  const Request own = request(Task::T2V, {{"preset", "lightning4"}, {"guidance_scale_2", 1.5}, {"solver", "unipc"}});
  EXPECT_EQ(own.guidance_scale_2, 1.5);
  EXPECT_EQ(steps(own), "1000h1 937h1 833l1.5 625l1.5");  // UniPC truncates t
  EXPECT_EQ(subjects(own), "guidance_scale_2 solver");
  EXPECT_EQ(preset_notes(own)[0].text, "is 1.5, where preset lightning4 has 1");

  const Request six = request(Task::T2V, {{"preset", "lightning4"}, {"num_inference_steps", 6}});
  EXPECT_TRUE(six.sigmas.empty());
  EXPECT_EQ(make_schedule(six).size(), 6);
  EXPECT_EQ(subjects(six), "num_inference_steps");

  const Request list = request(Task::T2V, {{"preset", "lightning4"}, {"sigmas", {1.0, 0.9, 0.7, 0.4}}});
  EXPECT_EQ(steps(list), "1000h1 900h1 700l1 400l1");
  EXPECT_EQ(subjects(list), "sigmas");
  EXPECT_EQ(subjects(request(Task::T2V, {{"guidance_scale", 9}})), "") << "hosted is no preset for few steps";
}

TEST(Presets, TheExpertsKeepTheirStepsAtAnotherShift) {
  const Request far = request(Task::I2V, {{"preset", "lightning4"}, {"shift", 16}, {"unlocked", true}});
  EXPECT_EQ(steps(far), "1000h1 979.6h1 941.2l1 842.1l1");
  EXPECT_EQ(far.boundary, 0.96);
  const Request given =
      request(Task::I2V, {{"preset", "lightning4"}, {"shift", 16}, {"unlocked", true}, {"boundary", 0.9}});
  EXPECT_EQ(steps(given), "1000h1 979.6h1 941.2h1 842.1l1");
  EXPECT_EQ(subjects(given), "shift boundary");
  EXPECT_NE(preset_notes(given)[1].text.find("makes 3 of the steps, where preset lightning4 gives it 2"),
            std::string::npos);
}

TEST(Presets, ARecordedRequestIsTheSameAgain) {
  for (const json& fields :
       {json{{"preset", "lightning4"}}, json{{"preset", "lightning4"}, {"num_inference_steps", 6}},
        json{{"preset", "lightning4"}, {"shift", 9}, {"solver", "step_distill"}}, json{{"preset", "lightning8-3phase"}},
        json{{"preset", "lightning8-3phase"}, {"guidance_until", 0}}})
    for (Task task : {Task::T2V, Task::I2V, Task::V2V}) {
      const Request first = request(task, fields);
      const json written = to_json(first);
      const Request again = parse(written, {.need_model = false, .check_files = false});
      EXPECT_EQ(json(to_json(again)), written);
      EXPECT_EQ(again.sigmas, first.sigmas) << fields;
      EXPECT_EQ(steps(again), steps(first)) << fields;
      EXPECT_EQ(subjects(again), subjects(first)) << fields;
    }
}

TEST(Presets, EachSetsParametersThatItsTasksHaveWithinTheirRanges) {
  for (const Preset& preset : presets())
    for (Task task : preset.tasks) {
      EXPECT_EQ(request(task, task == Task::S2V ? json{{"preset", preset.name}, {"image_url", "a"}, {"audio_url", "b"}}
                                                : json{{"preset", preset.name}})
                    .preset,
                preset.name);
      for (const PresetValue& value : preset.values) {
        if (!value.values.contains(task)) continue;
        const Parameter* parameter = find_parameter(value.field);
        ASSERT_TRUE(parameter && parameter->accepts(task)) << preset.name << " " << value.field;
        const Accepts& accepts = *parameter->accepts(task);
        const json& set = value.values.at(task);
        if (set.is_number()) {
          EXPECT_TRUE((preset.engine_ranges ? accepts.engine : accepts.hosted).contains(set.get<double>()))
              << preset.name << " " << value.field;
        }
      }
    }
  EXPECT_THROW(request(Task::S2V, {{"preset", "lightning4"}, {"image_url", "a"}, {"audio_url", "b"}}), InvalidRequest);
}

}  // namespace
}  // namespace wan
