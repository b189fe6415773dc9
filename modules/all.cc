#include "modules/all.h"

#include "modules/core/modules.h"
#include "modules/explain/explain.h"
#include "modules/http/modules.h"
#include "modules/stream/modules.h"

namespace weir {

std::span<const conf::Module* const> all_modules() {
  static constexpr const conf::Module* modules[] = {
      &core::kCoreModule,
      &core::kEventsModule,
      &core::kEventCoreModule,
      &core::kEpollModule,
      &core::kOpenSslModule,
      &core::kRegexModule,
      &core::kThreadPoolModule,
      // Phase handlers run in this order.
      &http::kCoreModule,
      &http::kLogModule,
      &http::kHttp2Module,
      &http::kUpstreamModule,
      &http::kUpstreamStickyModule,
      &http::kUpstreamQueueModule,
      &http::kSslModule,
      &http::kIndexModule,
      &http::kStaticModule,
      &http::kTryFilesModule,
      &http::kRealIpModule,
      &http::kLimitReqModule,
      &http::kLimitConnModule,
      &http::kAccessModule,
      &http::kAuthRequestModule,
      &http::kMapModule,
      &http::kGeoModule,
      &http::kSplitClientsModule,
      &http::kRewriteModule,
      &http::kProxyModule,
      &http::kGrpcModule,
      &http::kGrpcWebModule,
      &http::kHealthCheckModule,
      // Head filters run in this order: what is not sent needs no fields, ranges come last.
      &http::kNotModifiedModule,
      &http::kHeadersModule,
      &http::kGrpcErrorsModule,
      &http::kRangeModule,
      // stream: phase handlers run in this order.
      &stream::kCoreModule,
      &stream::kLogModule,
      &stream::kProxyModule,
      &stream::kUpstreamModule,
      &stream::kHealthCheckModule,
      &stream::kRealIpModule,
      &stream::kLimitConnModule,
      &stream::kAccessModule,
      &stream::kGeoModule,
      &stream::kMapModule,
      &stream::kSplitClientsModule,
      &stream::kReturnModule,
      &stream::kPassModule,
      &stream::kSslModule,
      &stream::kSslPrereadModule,
      &stream::kSetModule,
      &explain::kExplainModule,
  };
  return modules;
}

}  // namespace weir
