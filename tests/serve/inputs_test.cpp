// Files that a request names stay until its job is there, and what was made for it goes where there is none.
#include "engine/serve/api/inputs.h"

#include <gtest/gtest.h>

#include "engine/serve/api/stored_files.h"
#include "tests/serve/api_exchange.h"
#include "tests/serve/api_scene.h"

namespace wan::serve {
namespace {

using nlohmann::json;

class Inputs : public testing::Test, protected ApiScene {
 protected:
  /// An upload of anna's that is there.
  std::string upload() {
    UploadName name;
    name.file = Files::new_name("a.png");
    name.owner = "anna";
    run_void(keep_bytes(context, Access::Form::Fal, name, "png"));
    return name.file;
  }
  void run_void(Awaitable<void> work) { on_io(io, std::move(work)); }
  OwnInputs find(const std::string& url) {
    values = {{"image_url", url}};
    return run(find_inputs(context, exchange, endpoint, anna, values, errors));
  }

  const Endpoint& endpoint = *find_endpoint("fal-ai/wan/v2.2-a14b/image-to-video");
  const Caller anna{.name = "anna", .admin = false, .quota = {}};
  ApiExchange exchange;
  json values;
  ErrorList errors = ErrorList::array();
};

TEST_F(Inputs, ThatWereFoundAreNotRemoved) {
  const std::string name = upload();
  {
    const OwnInputs inputs = find("http://h/files/uploads/" + name);
    ASSERT_EQ(inputs.size(), 1u) << errors.dump();
    EXPECT_TRUE(files.in_use().has(name));
  }
  EXPECT_FALSE(files.in_use().has(name));
  EXPECT_EQ(file("uploads/" + name), "png");
}

TEST_F(Inputs, OfDataUrlsGoWhereThereIsNoJob) {
  json fields, input;
  for (const bool accepted : {false, true}) {
    const std::string url = "data:image/png;base64,cG5n";
    std::string id;
    {
      const OwnInputs inputs = find(url);
      const json body = {{"image_url", url}};
      run_void(keep_inputs(context, endpoint, anna, inputs, body, fields, input, errors));
      ASSERT_TRUE(errors.empty()) << errors.dump();
      ASSERT_EQ(count("uploads"), 1u);
      Job job = a_job("anna");
      job.input = input;
      gate->refuse(!accepted);
      try {
        id = run(jobs->submit(job))->job.id;
      } catch (const HttpError& error) {
        EXPECT_EQ(error.answer.status, 503);
      }
      gate->refuse(false);
      EXPECT_EQ(id.empty(), !accepted);
    }
    const auto none_is_left = [&] { return run_until(io, [&] { return count("uploads") == 0; }); };
    if (!accepted) {
      EXPECT_TRUE(none_is_left());
      continue;
    }
    const JobPtr job = run(jobs->find(id, std::nullopt));
    jobs->fail(job, {500, "internal_error", "x"});
    ASSERT_TRUE(run_until(io, [&] { return job->job.status == JobStatus::Failed; }));
    run_for(io, std::chrono::milliseconds(50));
    EXPECT_EQ(count("uploads"), 1u);
    EXPECT_TRUE(run(jobs->remove(id, std::nullopt)));
    EXPECT_TRUE(none_is_left());
  }
}

// Of each kind whose length can be told without decoding; the readers have tests of their own (sound_length_test.cpp).
TEST_F(Inputs, SoundThatIsTooLongForWaveSpeedIsRefusedAtOnce) {
  const Endpoint& wavespeed = *find_endpoint("wavespeed-ai/wan-2.2/speech-to-video");
  // AAC frames without content: 1024 samples at 16 kHz each.
  const auto refused = [&](const Endpoint& of, const char* field, int frames) {
    std::string bytes;
    for (int i = 0; i < frames; ++i) bytes += std::string("\xFF\xF1\x60\x80\0\xFF\xFC", 7);
    UploadName name;
    name.file = Files::new_name("speech.aac");
    name.owner = "anna";
    run_void(keep_bytes(context, Access::Form::Fal, name, bytes));
    values = {{field, "http://h/files/uploads/" + name.file}};
    errors = ErrorList::array();
    run(find_inputs(context, exchange, of, anna, values, errors));
    return errors;
  };
  EXPECT_EQ(refused(wavespeed, "audio", 1875), ErrorList::array()) << "120 s";
  EXPECT_EQ(refused(wavespeed, "audio", 1878), ErrorList::array()) << "with what an encoder adds to the ends";
  const ErrorList errors = refused(wavespeed, "audio", 1890);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].at("type"), "audio_duration_too_long");
  EXPECT_EQ(errors[0].at("loc"), (ErrorList{"body", "audio"}));
  EXPECT_EQ(errors[0].at("ctx").at("max_duration"), 120);
  EXPECT_EQ(refused(*find_endpoint("fal-ai/wan/v2.2-14b/speech-to-video"), "audio_url", 1890), ErrorList::array());
}

}  // namespace
}  // namespace wan::serve
