from fashret.cli.build_catalog import main

if __name__ == "__main__":
    main()
