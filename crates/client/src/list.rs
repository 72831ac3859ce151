//! Lists: page by page, as of one revision.

use crate::client::{JSON, PARTIAL_LIST, unreadable};
use crate::params::query;
use crate::{Client, ListParams, Result, watch};
use api::{PartialObject, Resource};
use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;

/// Objects per page of a list: what kubectl and client-go ask for.
pub(crate) const PAGE_OBJECTS: usize = 500;

/// Objects as one consistent read.
#[derive(Clone, Debug)]
pub struct List<T> {
    /// In the order of the server: by namespace, then name.
    pub items: Vec<T>,
    /// What a watch may continue from.
    pub resource_version: String,
}

impl Client {
    /// Reads all objects of a selection, page by page, as of one revision.
    ///
    /// # Errors
    /// Everything in [`Error`]; one object that is not a `T` fails the list, and is named.
    pub async fn list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        params: &ListParams,
    ) -> Result<List<T>> {
        self.read_list(resource, namespace, params, false).await
    }

    /// Reads the metadata of all objects of a selection, as of one revision.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_metadata(
        &self,
        resource: &Resource,
        namespace: &str,
        params: &ListParams,
    ) -> Result<List<PartialObject>> {
        self.read_list(resource, namespace, params, true).await
    }

    async fn read_list<T: DeserializeOwned>(
        &self,
        resource: &Resource,
        namespace: &str,
        params: &ListParams,
        partial: bool,
    ) -> Result<List<T>> {
        let mut list = List { items: Vec::new(), resource_version: String::new() };
        let mut pages = Pages::new(self, resource, namespace, params, partial);
        while let Some(page) = pages.next().await? {
            if page.restarted {
                list.items.clear();
            }
            let read = page.read()?;
            for json in &read.items {
                let item = serde_json::from_str(json).map_err(|cause| match watch::parse_item(json, &page.what) {
                    Ok(item) => unreadable(&resource.kind, &item.name, &cause),
                    Err(error) => error,
                })?;
                list.items.push(item);
            }
            list.resource_version = read.resource_version;
        }
        Ok(list)
    }
}

/// Reads the pages of a list one after the other.
pub(crate) struct Pages<'a> {
    client: &'a Client,
    path: String,
    params: &'a ListParams,
    resource: &'a Resource,
    partial: bool,
    limit: usize,
    token: String,
    done: bool,
    restarted: bool,
}

/// One page, its objects not yet read.
pub(crate) struct PageBytes<'a> {
    bytes: Bytes,
    resource: &'a Resource,
    partial: bool,
    /// The resource, for messages.
    pub(crate) what: String,
    /// The server forgot the revision that earlier pages were of: this page holds everything, again.
    pub(crate) restarted: bool,
}

impl PageBytes<'_> {
    pub(crate) fn read(&self) -> Result<watch::Page<'_>> {
        if self.partial {
            watch::parse_page(&self.bytes, &self.what, "meta.k8s.io/v1", "PartialObjectMetadata")
        } else {
            watch::parse_page(&self.bytes, &self.what, &self.resource.api_version(), &self.resource.kind)
        }
    }
}

impl<'a> Pages<'a> {
    pub(crate) fn new(
        client: &'a Client,
        resource: &'a Resource,
        namespace: &str,
        params: &'a ListParams,
        partial: bool,
    ) -> Self {
        let limit = if params.limit == 0 { PAGE_OBJECTS } else { params.limit };
        let path = resource.collection_path(namespace);
        Self { client, path, params, resource, partial, limit, token: String::new(), done: false, restarted: false }
    }

    /// The next page, or nothing after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<PageBytes<'a>>> {
        while !self.done {
            let limit = if self.restarted { String::new() } else { self.limit.to_string() };
            let query = query(&[
                ("labelSelector", &self.params.labels),
                ("fieldSelector", &self.params.fields),
                ("limit", &limit),
                ("continue", &self.token),
            ]);
            let accept = if self.partial { PARTIAL_LIST } else { JSON };
            let answer = self.client.bytes(Method::GET, &format!("{}{query}", self.path), accept, None).await;
            match answer {
                Err(error) if error.is_gone() && !self.token.is_empty() => {
                    // The snapshot was compacted between two pages: read all in one answer instead.
                    self.token.clear();
                    self.restarted = true;
                }
                Err(error) => return Err(error),
                Ok(bytes) => {
                    let what = self.resource.group_resource().to_string();
                    let page = PageBytes {
                        bytes,
                        resource: self.resource,
                        partial: self.partial,
                        what,
                        restarted: self.restarted,
                    };
                    self.token = page.read()?.token;
                    self.done = self.token.is_empty();
                    return Ok(Some(page));
                }
            }
        }
        Ok(None)
    }
}
