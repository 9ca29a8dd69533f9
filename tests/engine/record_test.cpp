// What a video says about how it was made.
#include "engine/job/record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/request/parse.h"

namespace wan {
namespace {

std::string image_in_record(const std::string& url) {
  Record record;
  record.request.task = Task::I2V;
  record.request.image_url = url;
  return nlohmann::json::parse(to_text(record)).at("request").at("image_url");
}

TEST(Record, NamesADataUrlByItsDigest) {
  const std::string picture = "data:image/png;base64," + std::string(2 << 20, 'A');
  const std::string named = image_in_record(picture);
  EXPECT_EQ(named.size(), std::string("data:,").size() + 64);
  EXPECT_NE(image_in_record(picture + "A"), named);
  EXPECT_EQ(image_in_record(named), named) << "a record that was read back says the same";
  EXPECT_EQ(image_in_record("face.png"), "face.png");
}

TEST(Record, CarriesThePrecisionToAReplay) {
  nlohmann::json asked = {{"task", "t2v"}, {"prompt", "a fox"}, {"device", "cpu"}};
  const auto replayed = [&] {
    const Request request = parse(asked, {.need_model = false, .check_files = false});
    return parse_record(to_text(make_record(request, resolve_placement(request), {})), "fox.mp4").request;
  };
  EXPECT_EQ(resolve_placement(replayed()).precision, Precision::Exact);
  asked["precision"] = "fast";
  EXPECT_EQ(replayed().precision, "fast");
  EXPECT_EQ(resolve_placement(replayed()).precision, Precision::Fast);
}

TEST(Record, SaysWhatTheVaeBeganInAndOlderOnesMeanFloat32) {
  Record record = parse_record(R"({"wan_infer": "1", "device": "cuda", "dtype": "bf16", "noise_device": "cuda",
                                   "files": [], "request": {"task": "t2v", "prompt": "a fox"}})",
                               "video");
  EXPECT_EQ(record.vae_dtype, "float32");
  record.vae_dtype = "float16";
  EXPECT_EQ(parse_record(to_text(record), "video").vae_dtype, "float16");
  Placement placement;
  placement.vae = at::kHalf;
  EXPECT_EQ(make_record({}, placement, {}).vae_dtype, "float16");
  EXPECT_EQ(make_record({}, Placement{}, {}).vae_dtype, "float32");
}

}  // namespace
}  // namespace wan
