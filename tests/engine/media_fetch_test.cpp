#include "engine/job/fetched.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engine/base/error.h"
#include "engine/media/image_reader.h"
#include "engine/request/files.h"
#include "engine/request/parse.h"
#include "tests/engine/media_support.h"
#include "tests/support.h"
#include "tests/support/job.h"
#include "tests/support/web_server.h"

namespace wan {
namespace {

constexpr const char* kText = "data:text/plain;base64,d2FuLWluZmVy";

TEST(InputFiles, ADataUrlBecomesAFileAndPathsStay) {
  const TemporaryFolder folder;
  Request request;
  Silent silent;
  request.image_url = kText;
  request.audio_url = "speech.wav";
  const InputFiles files = input_files(request, folder.path(), silent);
  EXPECT_EQ(files.image.path, copy_path(folder.path(), kText));
  EXPECT_EQ(bytes_of(files.image.path), "wan-infer");
  EXPECT_EQ(files.audio.path, "speech.wav");
  EXPECT_EQ(files.all().size(), 2u);
  EXPECT_TRUE(files.video.path.empty());
}

TEST(InputFiles, WhatCannotBeReadIsNamedAndLeavesNothing) {
  for (const char* url : {"http://127.0.0.1:1/none.png", "data:nonsense"}) {
    const TemporaryFolder folder;
    Request request;
    Silent silent;
    request.video_url = url;
    try {
      input_files(request, folder.path(), silent);
      ADD_FAILURE() << url << " was read";
    } catch (const InvalidRequest& invalid) {
      EXPECT_EQ(invalid.errors.at(0).field, "video_url");
      EXPECT_NE(std::string(invalid.what()).find(url), std::string::npos) << invalid.what();
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
}

TEST(InputFiles, ACopyIsFetchedOnce) {
  const TemporaryFolder folder;
  Request request;
  Silent silent;
  request.image_url = request.audio_url = kText;
  EXPECT_EQ(input_files(request, folder.path(), silent).image.path,
            input_files(request, folder.path(), silent).audio.path);
  std::ofstream(copy_path(folder.path(), kText)) << "kept";
  EXPECT_EQ(bytes_of(input_files(request, folder.path(), silent).image.path), "kept") << "the URL is not asked again";
}

// Zeros: large, and no picture.
TEST(InputFiles, ErrorsNameTheUrlAndNotTheCopy) {
  const TemporaryFolder folder;
  Request request;
  Silent silent;
  request.image_url = "data:image/png;base64," + std::string(3 << 20, 'A');
  const InputFiles files = input_files(request, folder.path(), silent);
  try {
    read_image(files.image);
    ADD_FAILURE() << "zeros were read as a picture";
  } catch (const InvalidRequest& invalid) {
    EXPECT_STREQ(invalid.what(),
                 "[image_url] must be an image (PNG, JPEG, WebP, BMP, TIFF, GIF, AVIF, HEIC, JPEG 2000), got "
                 "'data:image/png;base64,...': "
                 "it begins with zeros, as an unfinished download does; download it again");
    EXPECT_EQ(invalid.errors.at(0).field, "image_url");
  }
}

TEST(InputFiles, SchemesOfTheWebInAnyCase) {
  for (const char* url : {"http://h/x", "HTTPS://h/x", "Http://h", "data:,x"}) EXPECT_TRUE(is_url(url)) << url;
  for (const char* path : {"http:/x", "ftp://h/x", "httpx://h", "x.png", "file:///x"})
    EXPECT_FALSE(is_url(path)) << path;
}

TEST(InputFiles, UrlsLoseTheSpaceAroundThemAndCapitalsOfTheirScheme) {
  EXPECT_EQ(plain_url("  DATA:image/PNG;base64,YQ==\r\n"), "data:image/PNG;base64,YQ==");
  EXPECT_EQ(plain_url("\tHTTPS://Host/X y "), "https://Host/X y");
  for (const char* path : {" x.png ", "X:/Y", "", " ", "FTP://h/x"}) EXPECT_EQ(plain_url(path), path);
  for (const std::string image : {" data:image/png;base64,YQ==", "DATA:image/png;base64,YQ==\n"}) {
    const Request request =
        parse(Task::I2V, {{"prompt", "x"}, {"image_url", image}}, {.need_model = false, .check_files = true});
    EXPECT_EQ(request.image_url, "data:image/png;base64,YQ==");
  }
}

TEST(InputFiles, AnAbsentFolderIsTold) {
  const TemporaryFolder folder;
  const auto refusal = [](const std::string& path) {
    try {
      check_readable("image_url", path);
    } catch (const InvalidRequest& invalid) {
      return std::string(invalid.what());
    }
    return std::string();
  };
  const std::string name = folder.path().filename().string();
  EXPECT_TRUE(refusal((folder / "no/a.png").string())
                  .ends_with("no file '" + name + "/no/a.png'; its folder '" + name + "/no' is not there either"));
  EXPECT_TRUE(refusal((folder / "a.png").string()).ends_with("no file '" + name + "/a.png'"));
  EXPECT_TRUE(refusal("/no/a.png").ends_with("no file '/no/a.png'; its folder '/no' is not there either"));
  for (const char* url : {"ftp://h/a.png", "s3://bucket/a.png"})
    EXPECT_NE(refusal(url).find("got the URL"), std::string::npos) << refusal(url);
  EXPECT_NE(refusal(std::string(5000, 'A')).find("base64 stands in a data URL"), std::string::npos);
  EXPECT_TRUE(refusal("no such/a.png").ends_with("no file 'no such/a.png'; its folder 'no such' is not there either"));
}

struct StopAfter : Progress {
  explicit StopAfter(int checks) : left(checks) {}
  void at(const Report&) override {}
  void check() override {
    if (left-- == 0) throw Cancelled();
  }
  int left;
};

TEST(InputFiles, AnInterruptLeavesNoPart) {
  const WebServer server([](WebClient& client) {
    while (client.send(client.path == "/x" ? "HTTP/1.1 200 OK\r\n\r\n" + std::string(4096, 'x') : "") &&
           client.wait(20)) {
    }
  });
  const TemporaryFolder folder;
  Request request;
  request.video_url = server.url("/x");
  StopAfter stop(3);
  EXPECT_THROW(input_files(request, folder.path(), stop), Cancelled);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(InputFiles, PrivateAddressesAreLeftAloneWhereTheUserSaysSo) {
  const WebServer server([](WebClient& client) { client.answer("200 OK", "", "a file"); });
  const TemporaryFolder folder;
  Request request;
  Silent silent;
  request.image_url = server.url("/x.png?token=secret", "anna:secret@");
  request.private_urls = false;
  try {
    input_files(request, folder.path(), silent);
    ADD_FAILURE() << "this machine was asked";
  } catch (const InvalidRequest& invalid) {
    EXPECT_EQ(invalid.what(),
              "[image_url] must be a URL that can be read, got '" + server.url("/x.png") +
                  "': '127.0.0.1' is in a private or local network; without --no-private-urls it may be "
                  "asked");
  }
  EXPECT_EQ(server.requests(), 0);
  request.private_urls = true;
  EXPECT_EQ(bytes_of(input_files(request, folder.path(), silent).image.path), "a file");
}

// A picture's limit is the one of read_image, a video's is larger.
TEST(InputFiles, SizesAreThoseOfTheirKind) {
  const WebServer server([](WebClient& client) {
    client.send("HTTP/1.1 200 OK\r\nContent-Length: 20000000000\r\n\r\n" + std::string(100, 'x'));
  });
  for (const auto& [field, most] :
       {std::pair{&Request::image_url, int64_t(256) << 20}, std::pair{&Request::last_image_url, int64_t(256) << 20},
        std::pair{&Request::audio_url, int64_t(16) << 30}}) {
    const TemporaryFolder folder;
    Request request;
    Silent silent;
    request.*field = server.url("/x");
    try {
      input_files(request, folder.path(), silent);
      ADD_FAILURE() << "20 GB were taken";
    } catch (const InvalidRequest& invalid) {
      const std::string end = "it has 20000000000 bytes, at most " + std::to_string(most) + " are read";
      EXPECT_TRUE(std::string(invalid.what()).ends_with(end)) << invalid.what();
    }
  }
}

}  // namespace
}  // namespace wan
