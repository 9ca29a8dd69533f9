// What interpolation makes of frames and rates, and what a request may ask for.
#include "engine/request/interpolation.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/request/hosted.h"
#include "engine/request/params.h"
#include "engine/request/parse.h"

namespace wan {
namespace {

using nlohmann::json;

Request request(const json& more, Task task = Task::T2V) {
  json fields = {{"prompt", ""}, {"model", "m"}};
  fields.update(more);
  return parse(task, fields, {.check_files = false});
}

std::string error_of(const json& more, Task task = Task::T2V) {
  try {
    request(more, task);
  } catch (const InvalidRequest& error) {
    return error.what();
  }
  return "";
}

TEST(Interpolation, CountsFramesAndRates) {
  for (int64_t between = 0; between <= 4; ++between)
    for (const bool keeps : {true, false}) {
      const Interpolation how{"rife", between, keeps, false};
      EXPECT_EQ(how.frames(161), 161 + 160 * between);
      EXPECT_EQ(how.frames(1), 1);
      EXPECT_EQ(how.frames(0), 0);
      EXPECT_EQ(how.rate({60, 1}), (Rational{keeps ? 60 * (between + 1) : 60, 1}));
      EXPECT_EQ(rate_text(how.rate({30000, 1001})),
                keeps && between > 0 ? rate_text({30000 * (between + 1), 1001}) : "30000/1001");
    }
  EXPECT_EQ((Interpolation{"none", 3, true, false}).frames(10), 10);
  EXPECT_EQ((Interpolation{"none", 3, true, false}).rate({16, 1}), (Rational{16, 1}));
}

TEST(Interpolation, IsSaidInOneLine) {
  EXPECT_EQ(chain_text({"film", 1, true, false}, {81, {16, 1}}),
            "film, 1 frame between each two: 81 frames at 16 fps, 5.06 s -> 161 frames at 32 fps, 5.03 s");
  EXPECT_EQ(chain_text({"rife", 2, false, false}, {2, {16, 1}}),
            "rife, 2 frames between each two: 2 frames at 16 fps, 0.12 s -> 4 frames at 16 fps, 0.25 s, slower by the "
            "frames that are drawn");
  EXPECT_EQ(chain_text({"film", 1, true, false}, {0, {16, 1}}, false),
            "film, 1 frame between each two: 16 fps -> 32 fps");
  EXPECT_EQ(chain_text({"none", 1, true, false}, {81, {16, 1}}), "");
}

TEST(Interpolation, SaysOfFilmHowItComesToItsTimes) {
  const auto times = [](const Interpolation& how) {
    const nlohmann::ordered_json chain = chain_json(how, {5, {16, 1}});
    return chain.at(1).value("times", "");
  };
  EXPECT_EQ(times({"film", 2, true, true}), "direct");
  EXPECT_EQ(times({"film", 2, true, false}), "midpoints");
  EXPECT_EQ(times({"film", 1, true, true}), "") << "one frame is in the middle";
  EXPECT_EQ(times({"rife", 2, true, false}), "");
}

TEST(Interpolation, OfARequestIsOffUnlessItIsAskedFor) {
  EXPECT_FALSE(interpolation_of(request(json::object())).is_on());
  const Interpolation film = interpolation_of(request({{"interpolator_model", "film"}}));
  EXPECT_TRUE(film.is_on());
  EXPECT_EQ(film.between, 1) << "the endpoints' default";
  EXPECT_TRUE(film.keeps_duration);
  EXPECT_FALSE(interpolation_of(request({{"interpolator_model", "rife"}, {"num_interpolated_frames", 0}})).is_on());
  EXPECT_FALSE(interpolation_of(request({{"interpolator_model", "none"}, {"num_interpolated_frames", 4}})).is_on());
}

TEST(Interpolation, RefusesFramesThatNobodyDraws) {
  EXPECT_NE(error_of({{"num_interpolated_frames", 3}}).find("interpolator_model film or rife"), std::string::npos);
  EXPECT_EQ(error_of({{"num_interpolated_frames", 0}}), "");
  EXPECT_NE(error_of({{"interpolator", "film.pt"}}).find("[interpolator] needs the model whose weights it holds"),
            std::string::npos);
  EXPECT_EQ(error_of({{"interpolator", "film.pt"}, {"interpolator_model", "none"}}), "");
  EXPECT_NE(error_of({{"interpolator_model", "film"}, {"num_interpolated_frames", 5}}).find("from 0 to 4"),
            std::string::npos);
  EXPECT_NE(error_of({{"interpolator_model", "amt"}}).find("none, film or rife"), std::string::npos);
}

TEST(Interpolation, IsNoFieldOfTheSpeechEndpoint) {
  const Parameter& model = *find_parameter("interpolator_model");
  EXPECT_TRUE(is_hosted(model, Task::T2V));
  EXPECT_FALSE(is_hosted(model, Task::S2V));
  EXPECT_FALSE(is_hosted(*find_parameter("interpolator"), Task::T2V));
}

TEST(Interpolation, OfARequestComesBackOutOfItsJson) {
  const Request asked = request({{"interpolator_model", "film"},
                                 {"num_interpolated_frames", 3},
                                 {"adjust_fps_for_interpolation", false},
                                 {"interpolation_times", "direct"},
                                 {"interpolator", "/w/film.pt"}});
  const Request again = parse(json::parse(to_json(asked).dump()), {.check_files = false});
  EXPECT_EQ(to_json(again), to_json(asked));
  EXPECT_EQ(again.interpolator, "/w/film.pt");
  EXPECT_TRUE(interpolation_of(again).direct);
}

TEST(Interpolation, IsCopiedFromOneRequestToAnother) {
  const Request from = request({{"interpolator_model", "film"},
                                {"num_interpolated_frames", 3},
                                {"adjust_fps_for_interpolation", false},
                                {"interpolation_times", "direct"},
                                {"interpolator", "/w/film.pt"}});
  Request to = request(json::object());
  copy_chain(from, to);
  const json want = to_json(from), got = to_json(to);
  for (const char* field : kChainFields) {
    ASSERT_TRUE(want.contains(field)) << field;
    EXPECT_EQ(got.value(field, json()), want.at(field)) << field;
  }
}

}  // namespace
}  // namespace wan
