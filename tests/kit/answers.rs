//! A ledger's service that answers what a test gives it, and refuses every other call.

use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, async_trait};
use unefois_proto::pb::ledger::v1 as pb;
use unefois_proto::pb::ledger::v1::ledger_service_server::LedgerService;

/// What is answered. A call that a test does not give is one that must not come.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Answers `ListEntries`.
    async fn list_entries(&self, _: pb::ListEntriesRequest) -> Result<pb::ListEntriesResponse, Status> {
        not_asked_for()
    }

    /// Answers `GetConsistency`.
    async fn get_consistency(
        &self,
        _: pb::GetConsistencyRequest,
    ) -> Result<pb::GetConsistencyResponse, Status> {
        not_asked_for()
    }

    /// Answers `Search`.
    async fn search(&self, _: pb::SearchRequest) -> Result<pb::SearchResponse, Status> {
        not_asked_for()
    }

    /// Answers `GetProof`.
    async fn get_proof(&self, _: pb::GetProofRequest) -> Result<pb::GetProofResponse, Status> {
        not_asked_for()
    }

    /// Answers `ListHeldHeads`.
    async fn list_held_heads(
        &self,
        _: pb::ListHeldHeadsRequest,
    ) -> Result<pb::ListHeldHeadsResponse, Status> {
        not_asked_for()
    }

    /// Answers `CountPersons`.
    async fn count_persons(&self, _: pb::CountPersonsRequest) -> Result<pb::CountPersonsResponse, Status> {
        not_asked_for()
    }

    /// Answers `History`.
    async fn history(&self, _: pb::HistoryRequest) -> Result<pb::HistoryResponse, Status> {
        not_asked_for()
    }

    /// Answers `PersonHistory`: nothing is known of anybody.
    async fn person_history(&self, _: pb::PersonHistoryRequest) -> Result<pb::PersonHistoryResponse, Status> {
        Ok(pb::PersonHistoryResponse::default())
    }

    /// Answers `Disclose`.
    async fn disclose(&self, _: pb::DiscloseRequest) -> Result<pb::DiscloseResponse, Status> {
        not_asked_for()
    }

    /// Answers `SearchSubject`.
    async fn search_subject(&self, _: pb::SearchSubjectRequest) -> Result<pb::SearchSubjectResponse, Status> {
        not_asked_for()
    }

    /// Answers `Watch`.
    async fn watch(&self, _: pb::WatchRequest) -> Result<Vec<pb::WatchResponse>, Status> {
        not_asked_for()
    }
}

fn not_asked_for<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not asked for"))
}

/// The service that answers so.
#[derive(Clone, Copy, Debug)]
pub struct Answering<A>(pub A);

#[async_trait]
impl<A: Answers> LedgerService for Answering<A> {
    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        let answer = self.0.list_entries(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn get_consistency(
        &self,
        request: Request<pb::GetConsistencyRequest>,
    ) -> Result<Response<pb::GetConsistencyResponse>, Status> {
        let answer = self.0.get_consistency(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn search(
        &self,
        request: Request<pb::SearchRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        let answer = self.0.search(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn get_proof(
        &self,
        request: Request<pb::GetProofRequest>,
    ) -> Result<Response<pb::GetProofResponse>, Status> {
        let answer = self.0.get_proof(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_held_heads(
        &self,
        request: Request<pb::ListHeldHeadsRequest>,
    ) -> Result<Response<pb::ListHeldHeadsResponse>, Status> {
        let answer = self.0.list_held_heads(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn count_persons(
        &self,
        request: Request<pb::CountPersonsRequest>,
    ) -> Result<Response<pb::CountPersonsResponse>, Status> {
        let answer = self.0.count_persons(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn history(
        &self,
        request: Request<pb::HistoryRequest>,
    ) -> Result<Response<pb::HistoryResponse>, Status> {
        let answer = self.0.history(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn person_history(
        &self,
        request: Request<pb::PersonHistoryRequest>,
    ) -> Result<Response<pb::PersonHistoryResponse>, Status> {
        let answer = self.0.person_history(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn disclose(
        &self,
        request: Request<pb::DiscloseRequest>,
    ) -> Result<Response<pb::DiscloseResponse>, Status> {
        let answer = self.0.disclose(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn search_subject(
        &self,
        request: Request<pb::SearchSubjectRequest>,
    ) -> Result<Response<pb::SearchSubjectResponse>, Status> {
        let answer = self.0.search_subject(request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    type WatchStream = BoxStream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let told = self.0.watch(request.into_inner()).await?;
        let told = tokio_stream::iter(told.into_iter().map(Ok));
        Ok(Response::new(Box::pin(told)))
    }
}
