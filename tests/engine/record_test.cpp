// What a video says about how it was made.
#include "engine/job/record.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
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

TEST(Record, SaysNamesOnly) {
  EXPECT_EQ(image_in_record("/home/anna/pictures/face.png"), "face.png");
  EXPECT_EQ(image_in_record("../anna/face.png"), "face.png");
  EXPECT_EQ(image_in_record("https://anna:secret@host/face.png?token=1#x"), "https://host/face.png");
  EXPECT_EQ(stored_folder("/home/anna/Wan2.2-T2V-A14B"), "Wan2.2-T2V-A14B");
  EXPECT_EQ(stored_folder("anna/Wan2.2-T2V-A14B/"), "Wan2.2-T2V-A14B");
  EXPECT_EQ(stored_folder("Wan2.2-T2V-A14B/high/.."), "Wan2.2-T2V-A14B");
  const std::string here = std::filesystem::current_path().filename();
  for (const char* folder : {".", "./", "x/../", "x/.."}) EXPECT_EQ(stored_folder(folder), here) << folder;
  EXPECT_EQ(stored_folder(".."), std::filesystem::current_path().parent_path().filename());
  EXPECT_EQ(stored_folder(""), "");
}

/// With a secret in every place that has one.
Record secret_record(const char* metadata) {
  const Request request = parse({{"task", "i2v"},
                                 {"prompt", "anna1"},
                                 {"negative_prompt", "anna2"},
                                 {"model", "/home/x/anna3"},
                                 {"image_url", "anna4.png"},
                                 {"last_image_url", "http://host/anna5.png"},
                                 {"out", "/home/x/anna7.mp4"},
                                 {"seed", 17},
                                 {"metadata", metadata}},
                                {.check_files = false});
  return make_record(request, Placement{}, {{"anna6.safetensors", 5, "samples:abc"}},
                     {{"image_url", {"anna4.png", 3, "def"}}});
}

TEST(Record, HasTheExpandedPromptInFullAlone) {
  Record record;
  record.request.metadata = "full";
  record.expanded_prompt = "anna walks along the beach";
  EXPECT_EQ(nlohmann::json::parse(to_text(record)).at("expanded_prompt"), record.expanded_prompt);
  EXPECT_EQ(to_text(record, Metadata::Minimal).find("anna"), std::string::npos);
  record.expanded_prompt.clear();
  EXPECT_FALSE(nlohmann::json::parse(to_text(record)).contains("expanded_prompt"));
}

TEST(Record, IsReadAgainWithoutALanguageServer) {
  const Request request =
      parse({{"task", "t2v"}, {"prompt", "x"}, {"expander_url", "http://h"}, {"expander_model", "secret-model"}},
            {.need_model = false, .check_files = false});
  Record record = make_record(request, Placement{}, {});
  record.expanded_prompt = "a long text";
  const Record read = parse_record(to_text(record), "video");
  EXPECT_TRUE(read.request.enable_prompt_expansion);
  EXPECT_EQ(read.request.expander_url, "");
  EXPECT_EQ(read.expanded_prompt, "a long text");
  EXPECT_EQ(to_text(record).find("http://h"), std::string::npos);
  EXPECT_EQ(to_text(record, Metadata::Minimal).find("secret-model"), std::string::npos) << "minimal has no names";
}

TEST(Record, HoldsAsMuchAsIsAskedFor) {
  const std::string full = to_text(secret_record("full"));
  for (const char* name : {"anna1", "anna2", "anna3", "anna4", "anna5", "anna6"})
    EXPECT_NE(full.find(name), full.npos) << name;
  for (const char* part : {"/home", "anna7"}) EXPECT_EQ(full.find(part), full.npos) << part;

  const Record minimal = secret_record("minimal");
  EXPECT_NE(to_text(minimal).find("anna1"), full.npos) << "latents and work folders go on from all of it";
  const std::string text = to_text(minimal, metadata_of(minimal.request));
  EXPECT_EQ(text.find("anna"), text.npos) << text;
  const nlohmann::json json = nlohmann::json::parse(text);
  EXPECT_EQ(json.at("request").at("seed"), 17);
  EXPECT_EQ(json.at("request").at("num_inference_steps"), 27);
  EXPECT_EQ(json.at("files"), nlohmann::json::parse(R"([{"size": 5, "digest": "samples:abc"}])"));
  EXPECT_EQ(json.at("inputs"), nlohmann::json::parse(R"({"image_url": {"size": 3, "sha256": "def"}})"));
  try {
    parse_record(text, "video");
    FAIL();
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(),
                 "[video] must hold its whole request, was written with --metadata minimal, without prompt and names; "
                 "only --metadata full can be replayed");
  }
  EXPECT_EQ(to_text(secret_record("none"), metadata_of(secret_record("none").request)), "");
}

TEST(Record, IsReadBackWhole) {
  const Record record = parse_record(to_text(secret_record("minimal")), "video");
  EXPECT_EQ(record.request.model, "anna3");
  EXPECT_EQ(record.request.metadata, "minimal");
  ASSERT_EQ(record.files.size(), 1u);
  EXPECT_EQ(record.files[0].digest, "samples:abc");
  EXPECT_EQ(record.inputs.at("image_url").name, "anna4.png");
  EXPECT_EQ(record.inputs.at("image_url").size, 3u);
  EXPECT_EQ(record.inputs.at("image_url").sha256, "def");
  EXPECT_EQ(to_text(record), to_text(secret_record("minimal")));
}

TEST(Record, OfAnythingElseIsRefusedInOurWords) {
  const std::map<std::string, std::string> cases = {
      {"{\"wan_infer\": 1e999}", "must be JSON with numbers below 1.8e308, has a larger one at byte 19"},
      {"{\"wan_infer\": ", "is cut short: its JSON breaks off after 14 bytes"},
      {std::string(100'000, '['), "must be JSON of at most 16 levels, is nested deeper"}};
  for (const auto& [text, words] : cases) {
    try {
      parse_record(text, "video");
      ADD_FAILURE() << text.substr(0, 30);
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(invalid.what(), "[video] holds no request of wan-infer: " + words);
    }
  }
  for (const char* text : {"{}", "[]", "7", R"({"wan_infer": 1, "request": {"task": "t2v", "prompt": "x"}})"}) {
    try {
      parse_record(text, "video");
      ADD_FAILURE() << text;
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(std::string(invalid.what()).find("json.exception"), std::string::npos) << invalid.what();
    }
  }
}

TEST(Record, OfAnOlderVersionKnowsHeaders) {
  const Record record = parse_record(R"({"wan_infer": "1", "device": "cpu", "dtype": "float32", "noise_device": "cpu",
                                         "files": [{"name": "a.pth", "size": 5, "sha256": "abc"}],
                                         "request": {"task": "t2v", "prompt": "a fox", "model": "/home/anna/Wan"}})",
                                     "video");
  EXPECT_EQ(record.files.at(0).digest, "header:abc");
  EXPECT_EQ(record.request.model, "/home/anna/Wan");
  EXPECT_EQ(record.request.metadata, "full");
  EXPECT_TRUE(record.inputs.empty());
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

TEST(Record, SaysHowRowsOf8BitsWereRotated) {
  const auto made = [](const char* precision) {
    const nlohmann::json asked = {{"task", "t2v"}, {"prompt", "a fox"}, {"device", "cpu"}, {"precision", precision}};
    const Request request = parse(asked, {.need_model = false, .check_files = false});
    return to_text(make_record(request, resolve_placement(request), {}));
  };
  EXPECT_EQ(made("exact").find("rotation"), std::string::npos);
  EXPECT_EQ(parse_record(made("exact"), "fox.mp4").rotation, "");
  EXPECT_EQ(parse_record(made("balanced"), "fox.mp4").rotation, kRotation);
  // Older versions rotated in another way and said nothing.
  nlohmann::json older = nlohmann::json::parse(made("balanced"));
  older.erase("rotation");
  EXPECT_EQ(parse_record(older.dump(), "fox.mp4").rotation, "");
}

TEST(Record, CarriesTheFormOfTheWeightsToAReplay) {
  const auto replayed = [&](const nlohmann::json& more) {
    nlohmann::json asked = {{"task", "t2v"}, {"prompt", "a fox"}, {"device", "cpu"}};
    asked.update(more);
    const Request request = parse(asked, {.need_model = false, .check_files = false});
    return parse_record(to_text(make_record(request, resolve_placement(request), {})), "fox.mp4").request;
  };
  EXPECT_EQ(replayed(nlohmann::json::object()).weights, "stored");
  EXPECT_EQ(resolve_placement(replayed(nlohmann::json::object())).weights, Kept::Stored);
  for (const auto& [word, kept] : {std::pair{"bf16", Kept::Bf16}, {"fp8", Kept::Fp8}, {"int8", Kept::Int8}}) {
    EXPECT_EQ(replayed({{"weights", word}}).weights, word);
    EXPECT_EQ(resolve_placement(replayed({{"weights", word}})).weights, kept);
  }
}

TEST(Record, RefusesTilesThatCannotBe) {
  for (const char* rows : {"16", "-1", "256", "1000000"}) try {
      parse_record(R"({"wan_infer": "1", "device": "cuda", "dtype": "bf16", "noise_device": "cuda", "files": [],
                       "vae_tile_rows": )" +
                       std::string(rows) + R"(, "request": {"task": "t2v", "prompt": "a fox"}})",
                   "video");
      ADD_FAILURE() << rows;
    } catch (const InvalidRequest& refused) {
      EXPECT_EQ(refused.errors.at(0).line(),
                "[video] holds no request of wan-infer: its vae_tile_rows must be 0 or 128, got " + std::string(rows));
    }
}

TEST(Record, SaysWhatTheVaeBeganInAndOlderOnesMeanFloat32) {
  Record record = parse_record(R"({"wan_infer": "1", "device": "cuda", "dtype": "bf16", "noise_device": "cuda",
                                   "files": [], "request": {"task": "t2v", "prompt": "a fox"}})",
                               "video");
  EXPECT_EQ(record.vae_dtype, "float32");
  EXPECT_EQ(record.vae_tiles.wide, VaeTiles::kUnknown) << "not whole frames";
  record.vae_dtype = "float16";
  record.vae_tiles = {VaeTiles::kUnknown, VaeTiles::kUnknown};
  EXPECT_EQ(parse_record(to_text(record), "video").vae_dtype, "float16");
  const auto stored = [&] { return parse_record(to_text(record), "video").vae_tiles; };
  EXPECT_EQ(stored(), (VaeTiles{VaeTiles::kUnknown, VaeTiles::kUnknown}));
  for (const VaeTiles& tiles : {VaeTiles{0, 0}, VaeTiles{0, 128}, VaeTiles{128, 0}, VaeTiles{128, 128}}) {
    record.vae_tiles = tiles;
    EXPECT_EQ(stored(), tiles) << "float32 is what clips beyond half's range are repeated in";
  }
  record.vae_dtype = "float32";
  EXPECT_EQ(stored(), (VaeTiles{0, 128}));
  EXPECT_EQ(to_text(record).find("vae_tile_rows_float32"), std::string::npos);
  Placement placement;
  placement.vae = at::kHalf;
  EXPECT_EQ(make_record({}, placement, {}).vae_dtype, "float16");
  EXPECT_EQ(make_record({}, Placement{}, {}).vae_dtype, "float32");
}

/// Of builds that left out whole frames, and of those that said nothing of tiles.
TEST(Record, OlderOnesDoNotSayWhetherTheirFramesWereWhole) {
  const auto tiles_of = [](const std::string& said) {
    return parse_record(R"({"wan_infer": "1", "device": "cuda", "dtype": "bf16", "noise_device": "cuda", "files": [],
                            "request": {"task": "t2v", "prompt": "a fox"})" +
                            said + "}",
                        "video")
        .vae_tiles;
  };
  constexpr int64_t kUnknown = VaeTiles::kUnknown;
  EXPECT_EQ(tiles_of(R"(, "vae_dtype": "float16")"), (VaeTiles{kUnknown, kUnknown}));
  EXPECT_EQ(tiles_of(R"(, "vae_dtype": "float16", "vae_tile_rows": 128)"), (VaeTiles{128, kUnknown}));
  EXPECT_EQ(tiles_of(R"(, "vae_dtype": "float16", "vae_tile_rows_float32": 128)"), (VaeTiles{kUnknown, 128}));
  EXPECT_EQ(tiles_of(R"(, "vae_dtype": "float16", "vae_tile_rows": 0, "vae_tile_rows_float32": 0)"), VaeTiles());
}

}  // namespace
}  // namespace wan
