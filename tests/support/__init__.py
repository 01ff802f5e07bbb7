"""What tests share: albums, libraries, stand-ins, servers, trials."""
