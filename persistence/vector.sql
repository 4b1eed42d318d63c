-- Run after the migrations where the server has the extension, each time: a
-- server that gains it later gets the table then.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS knowledge_embeddings (
  space     text NOT NULL, -- the embedding model and its version; vectors of two spaces are never compared
  chunk     uuid NOT NULL REFERENCES knowledge_chunks (id) ON DELETE CASCADE,
  embedding vector NOT NULL,
  PRIMARY KEY (space, chunk)
);
